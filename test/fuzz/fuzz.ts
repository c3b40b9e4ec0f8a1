/** Runs the targets: so many cases of each as its share says, every case with a seed of its own, so that any can be had again alone. */
import { bfdTarget } from './bfd-target.ts';
import { codecTargets, type Target } from './codec-targets.ts';
import { loadCorpus } from './corpus.ts';
import { monitorTargets } from './monitor-targets.ts';
import { Random } from './random.ts';
import { sessionTargets } from './session-target.ts';

export interface FuzzOptions {
  readonly cases: number;
  readonly seed: number;
  /** Of each target, the first case. */
  readonly from: number;
  readonly only?: string;
  readonly corpus?: string;
}

export interface FuzzResult {
  readonly target: string;
  readonly cases: number;
  readonly casesPerSec: number;
  /** The one that took longest; of sessions, an episode of up to 70 inputs. */
  readonly slowestMs: number;
}

export function fuzzTargets(corpusFolder?: string): Target[] {
  const corpus = loadCorpus(corpusFolder);
  return [...codecTargets(corpus), ...sessionTargets(corpus, 5), ...monitorTargets(corpus), bfdTarget(5)];
}

/** @throws Error that names target, seed and case, and holds the octets, at the first thing that is wrong. */
export function* fuzz(options: FuzzOptions): Generator<FuzzResult> {
  const targets = fuzzTargets(options.corpus);
  const random = new Random();
  for (const [number, target] of targets.entries()) {
    if (options.only !== undefined && target.name !== options.only) continue;
    const cases = options.only === undefined ? Math.ceil((options.cases * target.share) / 100) : options.cases;
    const started = performance.now();
    let slowestMs = 0;
    let done = 0;
    for (let index = options.from; done < cases; index++) {
      random.seedCase(options.seed, number, index);
      const before = performance.now();
      try {
        done += target.run(random);
      } catch (error) {
        const again = `--only=${target.name} --seed=${options.seed} --from=${index} --cases=1`;
        throw new Error(`${target.name}, case ${index}; again: npm run fuzz -- ${again}\n${(error as Error).message}`, {
          cause: error,
        });
      }
      slowestMs = Math.max(slowestMs, performance.now() - before);
    }
    const seconds = (performance.now() - started) / 1000;
    yield { target: target.name, cases: done, casesPerSec: Math.round(done / seconds), slowestMs };
  }
}
