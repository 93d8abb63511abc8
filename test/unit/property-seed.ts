/**
 * Seed of the property tests. A person's run takes a new one each time and so goes on finding things (a failure prints its seed);
 * CI sets PROPERTY_SEED, so that a commit is judged by what it changed and not by luck. Loaded by --import before the tests.
 */
import fc from 'fast-check';

const seed = process.env['PROPERTY_SEED'];
if (seed !== undefined) fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) });
