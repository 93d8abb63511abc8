/** What a case of the table (cases.ts) is, and the two words it is written in. */
import type { ProblemCode } from '../../../src/api/v1alpha1/problems.ts';

export interface Case {
  /** A sentence: "a NAT service with its own target port". */
  readonly name: string;
  readonly object: Record<string, unknown>;
  /** Absent: valid. Otherwise the code of the first problem, and its path. */
  readonly refused?: { readonly code: ProblemCode; readonly path: string };
  /** Absent: the API server gives the same answer. `accepts`: it does not refuse this one, and `why`. */
  readonly server?: { readonly accepts: true; readonly why: string };
}

export type Fields = Record<string, unknown>;

export const apiVersion = 'ipvs-operator.dev/v1alpha1';

/** Refused. Fields that are undefined are left out of the object. */
export const no = (name: string, object: Fields, code: ProblemCode, path: string, server?: Case['server']): Case =>
  ({ name, object: JSON.parse(JSON.stringify(object)) as Fields, refused: { code, path }, ...(server === undefined ? {} : { server }) });
/** Accepted. */
export const yes = (name: string, object: Fields): Case => ({ name, object: JSON.parse(JSON.stringify(object)) as Fields });
