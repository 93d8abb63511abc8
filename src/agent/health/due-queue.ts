/**
 * What is due next, of many: a binary heap by time, in which every member knows its place. Adding, taking the first and removing any are
 * O(log n); ten thousand members are one array.
 */

export interface Due {
  dueAt: number;
  /** Index in the heap, kept by the queue; -1: in none. A member is in one queue at a time. */
  place: number;
}

export class DueQueue<T extends Due> {
  readonly #heap: T[] = [];

  get size(): number { return this.#heap.length; }

  /** The moment of the first; Infinity when there is none. */
  get next(): number { return this.#heap[0]?.dueAt ?? Infinity; }

  /** Adds a member, or moves one that is in the queue, to `dueAt`. */
  put(member: T, dueAt: number): void {
    member.dueAt = dueAt;
    if (member.place < 0) {
      member.place = this.#heap.length;
      this.#heap.push(member);
    }
    this.#sink(this.#rise(member));
  }

  /** Takes the first out if it is due at `now`. */
  take(now: number): T | null {
    const first = this.#heap[0];
    if (first === undefined || first.dueAt > now) return null;
    this.remove(first);
    return first;
  }

  /** Nothing happens when it is not in the queue. */
  remove(member: T): void {
    const { place } = member;
    if (place < 0) return;
    member.place = -1;
    const last = this.#heap.pop()!;
    if (last === member) return;
    this.#set(last, place);
    this.#sink(this.#rise(last));
  }

  #set(member: T, place: number): void {
    this.#heap[place] = member;
    member.place = place;
  }

  #rise(member: T): T {
    for (let place = member.place; place > 0;) {
      const above = (place - 1) >> 1;
      const parent = this.#heap[above]!;
      if (parent.dueAt <= member.dueAt) break;
      this.#set(parent, place);
      this.#set(member, above);
      place = above;
    }
    return member;
  }

  #sink(member: T): void {
    const heap = this.#heap;
    for (let place = member.place; ;) {
      let below = 2 * place + 1;
      if (below >= heap.length) return;
      if (below + 1 < heap.length && heap[below + 1]!.dueAt < heap[below]!.dueAt) below++;
      const child = heap[below]!;
      if (child.dueAt >= member.dueAt) return;
      this.#set(child, place);
      this.#set(member, below);
      place = below;
    }
  }
}
