/**
 * What can be wrong with a folder of manifests and its files. What is wrong inside an object is said in the words of
 * api/v1alpha1/problems.ts; both come out as a FileProblem, with the place in the file.
 */
import type { ProblemCode } from '../api/v1alpha1/index.ts';

/** Every code about files, with its meaning. Stable, like those about objects. */
export const FILE_PROBLEM_CODES = {
  FolderGone: 'The folder cannot be read, or was replaced by an empty one; everything stays in force.',
  FolderUnreadable: 'A folder inside cannot be read; what came from it stays in force.',
  SymlinkLoop: 'A symbolic link leads back to where it is.',
  FileUnreadable: 'A file cannot be read; what came from it stays in force.',
  FileEmpty: 'A file that had objects and has no bytes any more, or had none at the start, as after a write that just began or met a full disk; what came from it stays in force. Delete it when nothing of it is wanted.',
  FileTooLarge: 'A file above the size limit; what came from it stays in force.',
  NotAFile: 'A name like that of a manifest, but no regular file.',
  InvalidEncoding: 'A file that is not UTF-8.',
  InvalidYaml: 'A document that is no YAML; the others of its file are not affected.',
  InvalidJson: 'A file that is no JSON.',
  InvalidList: 'A List without items.',
  NeedsCluster: 'A field that only a cluster can serve: a Service or nodes as backend, or trafficPolicy Local. The object stays in its last good form.',
  DuplicateObject: 'The same kind, namespace and name in two places; the one in force stays in force.',
} as const;

export type FileProblemCode = keyof typeof FILE_PROBLEM_CODES;

export interface FileProblem {
  readonly code: FileProblemCode | ProblemCode;
  /** info: nothing that was asked for is missing. */
  readonly severity: 'error' | 'info';
  /** Relative to the folder; '.' for the folder itself. */
  readonly file: string;
  /** Index of the document in the file, from 0; absent when the file as a whole is meant. */
  readonly document?: number;
  /** Line in the file, from 1. */
  readonly line?: number;
  /** objectKey of the object, where it can be told. */
  readonly object?: string;
  /** What is wrong and what to do, in one line. */
  readonly message: string;
}
