/**
 * AppliedLines: the texts of the programs that a node runs, kept from one report to the next: of thousands a few are others. What they look
 * like is api/v1alpha1/ipvsnode.report.ts's.
 */
import { appliedLine, appliedReport, reportApplied, sumOf, type AppliedReport } from '../../api/v1alpha1/index.ts';
import type { Fragment } from '../state.ts';

type Running = Pick<Fragment, 'owner' | 'contentHash'>;

export class AppliedLines {
  /** Where the line of an owner is. A line's place is that of its owner, whatever the hash. */
  #places = new Map<string, number>();
  #hashes: string[] = [];
  #lines: readonly string[] = [];
  #sum = 0n;
  #report: AppliedReport = reportApplied([]);

  /** The same object while they are the same. */
  of(programs: readonly Running[]): AppliedReport {
    const changed: (readonly [at: number, program: Running])[] = [];
    if (programs.length !== this.#places.size) return this.#anew(programs);
    for (const program of programs) {
      const at = this.#places.get(program.owner);
      if (at === undefined) return this.#anew(programs);
      if (this.#hashes[at] !== program.contentHash) changed.push([at, program]);
    }
    if (changed.length === 0) return this.#report;
    const lines = [...this.#lines];
    for (const [at, { owner, contentHash }] of changed) {
      this.#hashes[at] = contentHash;
      lines[at] = appliedLine(owner, contentHash);
    }
    const [gone, come] = [this.#lines, lines].map((list) => sumOf(changed.map(([at]) => list[at]!)));
    return this.#keep(lines, BigInt.asUintN(64, this.#sum - gone! + come!));
  }

  #anew(programs: readonly Running[]): AppliedReport {
    const sorted = programs.map(({ owner, contentHash }) => ({ owner, contentHash, line: appliedLine(owner, contentHash) }))
      .sort((a, b) => (a.line < b.line ? -1 : 1));
    this.#places = new Map(sorted.map(({ owner }, at) => [owner, at]));
    this.#hashes = sorted.map((p) => p.contentHash);
    const lines = sorted.map((p) => p.line);
    return this.#keep(lines, sumOf(lines));
  }

  #keep(lines: readonly string[], sum: bigint): AppliedReport {
    this.#lines = lines;
    this.#sum = sum;
    return this.#report = appliedReport(lines, sum);
  }
}
