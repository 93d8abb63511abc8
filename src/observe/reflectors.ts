/** What agent and controller say alike of what they watch at the API server: filled at each scrape, from whatever keeps the caches. */
import type { KUBE_METRICS } from './catalogue.ts';
import type { InstrumentsOf } from './definition.ts';

/** One resource that is watched. */
export interface WatchedResource {
  readonly resource: string;
  readonly stats: {
    readonly lists: number;
    readonly watches: number;
    readonly events: number;
    readonly errors: number;
    readonly badObjects: number;
    /** In the milliseconds of `now`; null before the first event, which leaves the age without a value. */
    readonly lastEventAt: number | null;
  };
  readonly synced: boolean;
  readonly objects: number;
}

/** `now`: monotonic milliseconds. */
export function fillReflectors(kube: InstrumentsOf<typeof KUBE_METRICS>, watched: Iterable<WatchedResource>, now: number): void {
  for (const { resource, stats, synced, objects } of watched) {
    kube.lists.set({ resource }, stats.lists);
    kube.watches.set({ resource }, stats.watches);
    kube.watchEvents.set({ resource }, stats.events);
    kube.reflectorErrors.set({ resource }, stats.errors);
    if (stats.lastEventAt !== null) kube.lastEventAge.set({ resource }, (now - stats.lastEventAt) / 1000);
    kube.synced.set({ resource }, synced ? 1 : 0);
    kube.objects.set({ resource }, objects);
    kube.badObjects.set({ resource }, stats.badObjects);
  }
}
