/**
 * What a VirtualServer may ask for in a cluster only. A host without one knows no Services, no nodes and no other director, so it refuses
 * the object and says which field it is. Pure.
 */
import type { ApiObject } from '../api/v1alpha1/index.ts';

export interface ClusterField {
  /** `spec.backends[0].serviceRef`. */
  readonly path: string;
  readonly message: string;
  readonly fix: string;
}

/** Fields of this object that only a cluster can serve; empty for most. */
export function clusterFields(object: ApiObject): readonly ClusterField[] {
  if (object.kind !== 'VirtualServer') return [];
  const { backends, trafficPolicy } = object.spec;
  const found: ClusterField[] = [];
  backends.forEach((b, i) => {
    const at = `spec.backends[${i}]`;
    if (b.serviceRef !== undefined) {
      const message = `Service ${b.serviceRef.name} is an object of a cluster, and standalone has none`;
      found.push({ path: `${at}.serviceRef`, message, fix: 'list the real servers in static.endpoints' });
    }
    if (b.nodes !== undefined) {
      const message = 'nodes are objects of a cluster, and standalone has none';
      found.push({ path: `${at}.nodes`, message, fix: 'list their addresses in static.endpoints' });
    }
  });
  if (trafficPolicy === 'Local') {
    const message = 'Local means the real servers on the node of the director, and standalone knows of no nodes';
    found.push({ path: 'spec.trafficPolicy', message, fix: 'remove trafficPolicy, or set it to Cluster' });
  }
  return found;
}
