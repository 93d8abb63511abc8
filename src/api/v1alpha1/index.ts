/**
 * The API as other rooms import it: kinds, keys, parsing. Nothing here loads zod. Models are not here: they belong to the edges (models.ts).
 */
export { API_VERSION, GROUP, GROUP_LABEL, WEIGHT_NAME, VERSION, VIRTUAL_SERVER_LABEL, objectKey, type OwnerReference, type ServerMetadata } from './metadata.ts';
export { MAX_APPLIED, MAX_BINDS, MAX_FAILURES, MAX_RESERVED, MAX_SLICES, MAX_SLICE_REAL_SERVERS } from './vocabulary.ts';
export { SCHEDULERS, DEFAULT_WEIGHT, GUE_PORT, type SchedulerName } from './vocabulary.ts';
export { targetPortOf, endPortOf, portText } from './virtualserver.ports.ts';
export type { VirtualServer, VirtualServerSpec, VirtualServerPort, VirtualServerBackend, VirtualServerMode } from './virtualserver.ts';
export type { VIPPool, VIPPoolSpec, VIPPoolBlock } from './vippool.ts';
export type { DirectorGroup, DirectorGroupSpec } from './directorgroup.ts';
export type { VirtualIP, VirtualIPClaim, VirtualIPSpec, VirtualIPStatus } from './virtualip.ts';
export { claimedOf } from './virtualip.claimed.ts';
export { addressOfVirtualIP, virtualIPName } from './virtualip.name.ts';
export type { VirtualServerProgram, VirtualServerProgramSpec } from './virtualserverprogram.ts';
export { SLICE_CODES, joinSlices, sliceName, sliceProgram, type JoinedProgram, type ProgramSource, type SliceProblem } from './slices.ts';
export type { IPVSNode, IPVSNodeBind, IPVSNodeSpec, IPVSNodeStatus } from './ipvsnode.ts';
export { appliedLine, appliedReport, readApplied, reportApplied, sumOf, type AppliedReport } from './ipvsnode.report.ts';
export type { DirectorGroupStatus, MemberState, VIPPoolStatus, VirtualServerStatus } from './status.ts';
export {
  ALL_KINDS, KINDS, MACHINE_KINDS, parseKind, parseObject,
  type ApiObject, type Identity, type Kind, type MachineKind, type MachineObject, type ParseResult,
} from './parse.ts';
export { InvalidObject, RESOURCES, fromServer, type FromServer, type ResourceDescription, type ServerObjects } from './resources.ts';
export { PROBLEM_CODES, formatProblem, type Problem, type ProblemCode } from './problems.ts';
export {
  CONDITIONS, CONDITIONS_OF, EXCLUSION_REASONS,
  type Condition, type ConditionKind, type ConditionOf, type ConditionType, type ExclusionReason, type ReasonOf,
} from './conditions.ts';
