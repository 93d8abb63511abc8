/**
 * Runs the test files of the given patterns in this process, one after the other: what `node --test --test-isolation=none` does, at two thirds of
 * the CPU. node:test follows every promise with async hooks, to know of an error that nobody waited for in which test it was made; code that awaits
 * is up to twenty times slower for it. Here promises are not followed: such an error still fails the run and is printed, without the test's name
 * (`node --test FILE` says it). Arguments are patterns; the reporters are node's options. Not a test.
 */
import asyncHooks from 'node:async_hooks';
import { globSync } from 'node:fs';
import { resolve } from 'node:path';

const { createHook } = asyncHooks;
// Before node:test is loaded, which is why nothing here may import it: it takes this function once.
asyncHooks.createHook = (callbacks) => createHook({ ...callbacks, trackPromises: false });

await import('./property-seed.ts');
const { test } = await import('node:test');

const loading = Promise.withResolvers<void>();
// The first: no other begins while files are being read.
void test('every file of these tests can be loaded', () => loading.promise);
const failures: unknown[] = [];
for (const file of new Set(process.argv.slice(2).flatMap((pattern) => globSync(pattern).sort()))) {
  await import(resolve(file)).catch((error: unknown) => { failures.push(new Error(`${file}: ${String(error)}`, { cause: error })); });
}
if (failures.length === 0) loading.resolve();
else loading.reject(failures.length === 1 ? failures[0] : new AggregateError(failures, failures.map(String).join('; ')));
