/**
 * Model classes, as users of kubernetes-models know them: for the edges, where objects are built to be written out (import, save,
 * fixtures). Nothing between manifest and kernel imports this file: it carries plain data only, and its package loads a validator.
 *
 * Fields are declared with `declare`: a plain field declaration would set them to undefined after the constructor filled them.
 */
import { Model, createTypeMetaGuard, type ModelData } from '@kubernetes-models/base';
import type { z } from 'zod';
import { API_VERSION, type ServerMetadata } from './metadata.ts';
import { formatProblem } from './problems.ts';
import { MACHINE_KINDS, parseKind, parseObject, type MachineKind } from './parse.ts';
import type { directorGroupSpec } from './directorgroup.ts';
import type { IPVSNodeStatus, ipvsNodeSpec } from './ipvsnode.ts';
import type { DirectorGroupStatus, VIPPoolStatus, VirtualServerStatus } from './status.ts';
import type { vipPoolSpec } from './vippool.ts';
import type { VirtualIPStatus, virtualIPSpec } from './virtualip.ts';
import type { virtualServerSpec } from './virtualserver.ts';
import type { virtualServerProgramSpec } from './virtualserverprogram.ts';

interface Metadata extends ServerMetadata {
  name: string;
  namespace?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** An object as it is written: defaults may be left out. */
interface Written<K extends string, Spec, Status> {
  apiVersion: typeof API_VERSION;
  kind: K;
  metadata: Metadata;
  spec: Spec;
  status?: Status;
}

export type IVirtualServer = Written<'VirtualServer', z.input<typeof virtualServerSpec>, VirtualServerStatus>;
export type IVIPPool = Written<'VIPPool', z.input<typeof vipPoolSpec>, VIPPoolStatus>;
export type IDirectorGroup = Written<'DirectorGroup', z.input<typeof directorGroupSpec>, DirectorGroupStatus>;
export type IVirtualIP = Written<'VirtualIP', z.input<typeof virtualIPSpec>, VirtualIPStatus>;
export type IVirtualServerProgram = Written<'VirtualServerProgram', z.input<typeof virtualServerProgramSpec>, never>;
export type IIPVSNode = Written<'IPVSNode', z.input<typeof ipvsNodeSpec>, IPVSNodeStatus>;

/** Throws TypeError that lists every problem, in words. */
function assertValid(model: { kind: string; toJSON(): unknown }): void {
  const value = model.toJSON();
  const result = Object.hasOwn(MACHINE_KINDS, model.kind) ? parseKind(model.kind as MachineKind, value) : parseObject(value);
  if (!result.ok) throw new TypeError(result.problems.map(formatProblem).join('\n'));
}

export class VirtualServerModel extends Model<IVirtualServer> {
  static readonly apiVersion = API_VERSION;
  static readonly kind = 'VirtualServer' as const;
  static readonly is = createTypeMetaGuard<IVirtualServer>(VirtualServerModel);
  declare apiVersion: IVirtualServer['apiVersion'];
  declare kind: IVirtualServer['kind'];
  declare metadata: IVirtualServer['metadata'];
  declare spec: IVirtualServer['spec'];
  declare status?: IVirtualServer['status'];

  constructor(data?: ModelData<IVirtualServer>) {
    super();
    this.setDefinedProps({ apiVersion: VirtualServerModel.apiVersion, kind: VirtualServerModel.kind, ...data } as IVirtualServer);
  }

  override validate(): void { assertValid(this); }
}

export class VIPPoolModel extends Model<IVIPPool> {
  static readonly apiVersion = API_VERSION;
  static readonly kind = 'VIPPool' as const;
  static readonly is = createTypeMetaGuard<IVIPPool>(VIPPoolModel);
  declare apiVersion: IVIPPool['apiVersion'];
  declare kind: IVIPPool['kind'];
  declare metadata: IVIPPool['metadata'];
  declare spec: IVIPPool['spec'];
  declare status?: IVIPPool['status'];

  constructor(data?: ModelData<IVIPPool>) {
    super();
    this.setDefinedProps({ apiVersion: VIPPoolModel.apiVersion, kind: VIPPoolModel.kind, ...data } as IVIPPool);
  }

  override validate(): void { assertValid(this); }
}

export class DirectorGroupModel extends Model<IDirectorGroup> {
  static readonly apiVersion = API_VERSION;
  static readonly kind = 'DirectorGroup' as const;
  static readonly is = createTypeMetaGuard<IDirectorGroup>(DirectorGroupModel);
  declare apiVersion: IDirectorGroup['apiVersion'];
  declare kind: IDirectorGroup['kind'];
  declare metadata: IDirectorGroup['metadata'];
  declare spec: IDirectorGroup['spec'];
  declare status?: IDirectorGroup['status'];

  constructor(data?: ModelData<IDirectorGroup>) {
    super();
    this.setDefinedProps({ apiVersion: DirectorGroupModel.apiVersion, kind: DirectorGroupModel.kind, ...data } as IDirectorGroup);
  }

  override validate(): void { assertValid(this); }
}

export class VirtualIPModel extends Model<IVirtualIP> {
  static readonly apiVersion = API_VERSION;
  static readonly kind = 'VirtualIP' as const;
  static readonly is = createTypeMetaGuard<IVirtualIP>(VirtualIPModel);
  declare apiVersion: IVirtualIP['apiVersion'];
  declare kind: IVirtualIP['kind'];
  declare metadata: IVirtualIP['metadata'];
  declare spec: IVirtualIP['spec'];
  declare status?: IVirtualIP['status'];

  constructor(data?: ModelData<IVirtualIP>) {
    super();
    this.setDefinedProps({ apiVersion: VirtualIPModel.apiVersion, kind: VirtualIPModel.kind, ...data } as IVirtualIP);
  }

  override validate(): void { assertValid(this); }
}

export class VirtualServerProgramModel extends Model<IVirtualServerProgram> {
  static readonly apiVersion = API_VERSION;
  static readonly kind = 'VirtualServerProgram' as const;
  static readonly is = createTypeMetaGuard<IVirtualServerProgram>(VirtualServerProgramModel);
  declare apiVersion: IVirtualServerProgram['apiVersion'];
  declare kind: IVirtualServerProgram['kind'];
  declare metadata: IVirtualServerProgram['metadata'];
  declare spec: IVirtualServerProgram['spec'];

  constructor(data?: ModelData<IVirtualServerProgram>) {
    super();
    this.setDefinedProps({ apiVersion: VirtualServerProgramModel.apiVersion, kind: VirtualServerProgramModel.kind, ...data } as IVirtualServerProgram);
  }

  override validate(): void { assertValid(this); }
}

export class IPVSNodeModel extends Model<IIPVSNode> {
  static readonly apiVersion = API_VERSION;
  static readonly kind = 'IPVSNode' as const;
  static readonly is = createTypeMetaGuard<IIPVSNode>(IPVSNodeModel);
  declare apiVersion: IIPVSNode['apiVersion'];
  declare kind: IIPVSNode['kind'];
  declare metadata: IIPVSNode['metadata'];
  declare spec: IIPVSNode['spec'];
  declare status?: IIPVSNode['status'];

  constructor(data?: ModelData<IIPVSNode>) {
    super();
    this.setDefinedProps({ apiVersion: IPVSNodeModel.apiVersion, kind: IPVSNodeModel.kind, ...data } as IIPVSNode);
  }

  override validate(): void { assertValid(this); }
}
