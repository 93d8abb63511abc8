/** Every example is a folder of manifests without a problem: nobody learns from a wrong one. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { globSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ManifestFolder } from '../../../src/standalone/manifests.ts';

const examples = fileURLToPath(new URL('../../../examples', import.meta.url));
/** What is for a cluster is judged by test/unit/deploy/examples.test.ts. */
const folders = new Set(globSync(`${examples}/**/*.{yaml,yml,json}`).map(dirname).filter((folder) => !/^\/(kubernetes|argocd|flux)\b/.test(folder.slice(examples.length))));

test('there are examples', () => assert.ok(folders.size > 0 && statSync(examples).isDirectory()));

for (const folder of folders) {
  test(`examples${folder.slice(examples.length)} is valid`, () => {
    // A day later: a fresh checkout has settled.
    const scan = new ManifestFolder(folder).scan(Date.now() + 86_400_000);
    assert.deepEqual(scan.problems.filter((p) => p.code !== 'DuplicateObject'), []);
    assert.ok(scan.complete);
  });
}
