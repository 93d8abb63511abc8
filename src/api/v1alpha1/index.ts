/**
 * The API as other rooms import it: kinds, keys, parsing. Nothing here loads zod. Models are not here: they belong to the edges (models.ts).
 */
export { API_VERSION, GROUP, VERSION, objectKey } from './metadata.ts';
export { SCHEDULERS, DEFAULT_WEIGHT, GUE_PORT, type SchedulerName } from './vocabulary.ts';
export { targetPortOf, endPortOf } from './virtualserver.ports.ts';
export type { VirtualServer, VirtualServerSpec, VirtualServerPort, VirtualServerBackend, VirtualServerMode } from './virtualserver.ts';
export type { VIPPool, VIPPoolSpec, VIPPoolBlock } from './vippool.ts';
export type { DirectorGroup, DirectorGroupSpec } from './directorgroup.ts';
export { KINDS, parseObject, type ApiObject, type Identity, type Kind, type ParseResult } from './parse.ts';
export { PROBLEM_CODES, formatProblem, type Problem, type ProblemCode } from './problems.ts';
export { CONDITIONS, EXCLUSION_REASONS, type Condition, type ConditionType, type ExclusionReason, type ReasonOf } from './conditions.ts';
