/**
 * Tells that links, addresses or local routes changed, never what: level-triggered code reads again anyway. Polled, because a
 * blocking read would occupy a thread and hold up the end of the process.
 */
import { NETLINK } from '../netlink/constants.ts';
import { KernelError } from '../netlink/errors.ts';
import type { MessageReader } from '../netlink/reader.ts';
import { NetlinkSubscription } from '../netlink/subscription.ts';
import { RTM, RTNLGRP, RTN_LOCAL } from './rtnetlink-constants.ts';

/** An empty look costs one system call of a few microseconds. Bounds how late drift is seen and how often `onChange` is called. */
export const POLL_MS = 100;

const GROUPS = [RTNLGRP.LINK, RTNLGRP.IPV4_IFADDR, RTNLGRP.IPV6_IFADDR, RTNLGRP.IPV4_ROUTE, RTNLGRP.IPV6_ROUTE];

/** The part of a subscription that watching needs; replaced in unit tests. */
export type EventSource = Pick<NetlinkSubscription, 'drain' | 'close'>;

export function openEvents(): EventSource {
  return new NetlinkSubscription(NETLINK.ROUTE, { groups: GROUPS });
}

/** Whether a message is one that can concern us: a router's thousand BGP routes a second are not. */
export function isRelevant(message: MessageReader): boolean {
  if (message.type !== RTM.NEWROUTE && message.type !== RTM.DELROUTE) return true;
  return message.word(4) >>> 24 === RTN_LOCAL;
}

/**
 * Calls `onChange` at most once per POLL_MS, after changes or after events were lost. Stops with the signal; the timer does
 * not keep the process alive. Throws KernelError when the socket cannot be opened.
 */
export function watchNet(onChange: () => void, signal: AbortSignal, open: () => EventSource = openEvents): void {
  if (signal.aborted) return;
  let events: EventSource | null = open();
  const poll = (): void => {
    let changed = false;
    try {
      // A socket that failed is replaced; what happened in between is unknown, which is a change.
      if (events === null) {
        events = open();
        changed = true;
      }
      const { lost } = events.drain((message) => { changed ||= isRelevant(message); });
      changed ||= lost;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      events?.close();
      events = null;
      changed = true;
    }
    if (changed) onChange();
  };
  const timer = setInterval(poll, POLL_MS).unref();
  signal.addEventListener('abort', () => {
    clearInterval(timer);
    events?.close();
  }, { once: true });
}
