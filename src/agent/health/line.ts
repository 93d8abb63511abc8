/**
 * Those who wait, in the order in which they came; any of them may leave. A Set that keeps its place: walked anew each time, it steps over
 * everyone who was taken from its front since it last tidied up, and of ten thousand who wait thousands were.
 */
export class Line<T> {
  readonly #members = new Set<T>();
  #walk = this.#members.values();
  /** Where the walk stopped. */
  #first: T | null = null;

  get size(): number { return this.#members.size; }

  /** Comes to the end of the line; who is in it already keeps its place. */
  add(member: T): void {
    this.#members.add(member);
  }

  /** Nothing happens when it is not in it. */
  delete(member: T): void {
    this.#members.delete(member);
    if (this.#first === member) this.#first = null;
  }

  /** Who came first; null: nobody waits. */
  get first(): T | null {
    if (this.#first !== null || this.#members.size === 0) return this.#first;
    let { value, done } = this.#walk.next();
    // It came to the end once, and sees nobody who came after that.
    if (done === true) {
      this.#walk = this.#members.values();
      value = this.#walk.next().value;
    }
    return this.#first = value as T;
  }
}
