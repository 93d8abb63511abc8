// How much CPU a guest has used, seen from the host: its kernel and the processes of its user space are one process group.
// Beside a scenario's time it says whether the scenario works or waits.

import { readFileSync, readdirSync } from 'node:fs';

/** Ticks of /proc/PID/stat a second: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS = 100;

/** Seconds, user and system, of a process group and of its members' children that have ended. */
export function cpuSecondsOf(group: number): number {
  let ticks = 0;
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    let stat: string;
    try {
      stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    } catch {
      continue; // It ended this moment; its parent counts it.
    }
    // Behind the name, which may hold anything: state, ppid, pgrp, ... the 12th to 15th are utime, stime, cutime, cstime (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(fields[2]) === group) for (const i of [11, 12, 13, 14]) ticks += Number(fields[i]);
  }
  return ticks / TICKS;
}
