/** One set-up at a time on one cache: two `npm run` at once must not unpack into, or install under, each other. */
import fs from 'node:fs';
import path from 'node:path';
import { say } from './say.mjs';

/** Start time of a process in clock ticks, field 22 of /proc/PID/stat: with the pid it names one process for ever. */
function startTime(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
    throw error;
  }
}

function holder(file) {
  try {
    const [pid, started] = fs.readFileSync(file, 'utf8').trim().split(' ');
    return started !== undefined && startTime(pid) === started ? pid : undefined;
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Runs `work` while holding `file`. A lock whose holder is gone is taken over.
 * @template T @param {string} file @param {() => Promise<T>} work @returns {Promise<T>}
 */
export async function withLock(file, work) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const mine = `${file}.${process.pid}`;
  fs.writeFileSync(mine, `${process.pid} ${startTime(process.pid)}\n`);
  let said = false;
  for (;;) {
    try {
      fs.linkSync(mine, file); // atomic, and the content is there from the first moment
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const pid = holder(file);
    if (pid === undefined) fs.rmSync(file, { force: true });
    else {
      if (!said) say(`waiting for another set-up (process ${pid})`);
      said = true;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  fs.rmSync(mine);
  try {
    return await work();
  } finally {
    fs.rmSync(file, { force: true });
  }
}
