// What the host tells labd to do: the content of job.json in the folder that they share.

export interface Job {
  /** Names, in the order in which guests take them. */
  readonly scenarios: readonly string[];
  /** Multiplies the scenarios' time limits; above 1 on a slow backend. */
  readonly slowness: number;
  /** For a shell: run the scenario before it opens. */
  readonly runFirst?: boolean;
}
