/**
 * Seed of the property tests. A person's run takes a new one each time and so goes on finding things; CI sets PROPERTY_SEED, so that a
 * commit is judged by what it changed and not by luck. Whatever ends a run badly, a timeout included, its seed is known: it is printed
 * here when the process ends, and by tools/test.ts before it begins. Loaded by --import before the tests.
 */
import { randomInt } from 'node:crypto';
import fc from 'fast-check';

/** Looking for a smaller counterexample ends by then, and what was found is told: a test that timed out tells nothing. Milliseconds. */
const ENOUGH_MS = 240_000;

const seed = Number(process.env['PROPERTY_SEED'] ?? randomInt(2 ** 31));
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed, interruptAfterTimeLimit: ENOUGH_MS, markInterruptAsFailure: true });
process.on('exit', (code) => { if (code !== 0) process.stderr.write(`property tests of this process: PROPERTY_SEED=${seed}\n`); });
