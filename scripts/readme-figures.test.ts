import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readmeFigures, readmeFile, readResult, resultFile, withFigures } from './readme-figures.ts';

test('the figures in the README are those of bench/results/main.json', () => {
  const readme = readFileSync(readmeFile, 'utf8');
  assert.equal(readme, withFigures(readme, readmeFigures(readResult(resultFile))), 'run "npm run readme:figures"');
});

test('a README without marks is not touched', () => {
  assert.throws(() => withFigures('# text', 'figures'), /has no/);
});
