/**
 * What the status of a VirtualIP says of its claims. It follows from the spec alone, so whoever writes that status first, the controller or
 * the director that takes the address, says the same, and the other need not write. Pure.
 */
import type { VirtualIP } from './virtualip.ts';

export interface Claimed {
  /** How many there are. */
  readonly claims: number;
  /** Without its times. */
  readonly condition: {
    readonly type: 'Claimed';
    readonly status: 'True' | 'False';
    readonly reason: 'Claimed' | 'Released';
    readonly message: string;
    readonly observedGeneration?: number;
  };
}

export function claimedOf({ spec, metadata: { generation } }: VirtualIP): Claimed {
  const claims = spec.claims.length;
  const said = claims > 0
    ? { status: 'True', reason: 'Claimed', message: '' } as const
    : { status: 'False', reason: 'Released', message: 'no VirtualServer has it any more' } as const;
  return { claims, condition: { type: 'Claimed', ...said, ...(generation !== undefined && { observedGeneration: generation }) } };
}
