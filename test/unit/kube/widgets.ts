/** Widgets: a kind to test with, namespaced and of a cluster; with a schema that some objects fail. */
import type { KubeObject, Resource } from '../../../src/kube/types.ts';

export interface Widget extends KubeObject {
  readonly spec: { readonly size: number; readonly colour?: string };
  readonly status?: { readonly ready?: number };
}

export const WIDGETS: Resource<Widget> = { group: 'example.org', version: 'v1', kind: 'Widget', plural: 'widgets', namespaced: true };
export const GADGETS: Resource<Widget> = { group: '', version: 'v1', kind: 'Gadget', plural: 'gadgets', namespaced: false };

/** Widgets whose size is a number; a colour is added where there is none. */
export const CHECKED: Resource<Widget> = {
  ...WIDGETS,
  parse: (value) => {
    const widget = value as Widget;
    if (typeof widget.spec?.size !== 'number') throw new Error('spec.size is no number');
    return { ...widget, spec: { colour: 'grey', ...widget.spec } };
  },
};

export const COLLECTION = '/apis/example.org/v1/widgets';

export function widget(name: string, size: number | string = 1, labels: Record<string, string> = {}, namespace = 'ns'): Widget {
  return { apiVersion: 'example.org/v1', kind: 'Widget', metadata: { name, namespace, labels }, spec: { size: size as number } };
}
