/** Metrics with their labels as types, in a registry that is handed around instead of prom-client's global one. */
import prom from 'prom-client';

type Labels<L extends string> = Readonly<Record<L, string | number>>;

export interface Counter<L extends string> {
  /** @param by not negative. */
  inc(labels: Labels<L>, by?: number): void;
}
export interface Gauge<L extends string> {
  set(labels: Labels<L>, value: number): void;
  /** Drops the series of a thing that is gone. */
  remove(labels: Labels<L>): void;
}
export interface Histogram<L extends string> {
  observe(labels: Labels<L>, value: number): void;
}

export interface MetricOptions<L extends string> {
  /** Without the prefix `poplin_`; ends in the unit (`_seconds`, `_bytes`) or in `_total` for counters. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly L[];
}

export interface Metrics {
  counter<L extends string = never>(options: MetricOptions<L>): Counter<L>;
  gauge<L extends string = never>(options: MetricOptions<L>): Gauge<L>;
  /** A gauge without labels whose value is asked for at each scrape. */
  observedGauge(options: MetricOptions<never>, value: () => number): void;
  /** Series whose labels and values are asked for at each scrape; those that are not told any more are gone. */
  observed<L extends string>(
    options: MetricOptions<L> & { readonly type: 'gauge' | 'counter' },
    series: () => Iterable<readonly [Labels<L>, number]> | Promise<Iterable<readonly [Labels<L>, number]>>,
  ): void;
  histogram<L extends string = never>(
    options: MetricOptions<L> & { readonly buckets: readonly number[] },
  ): Histogram<L>;
  /** The text format of Prometheus. */
  scrape(): Promise<{ readonly contentType: string; readonly body: string }>;
}

const prefix = 'poplin_';

export interface MetricsOptions {
  /** Also process and Node.js metrics (CPU, memory, event loop delay). */
  readonly process?: boolean;
  /**
   * Between two looks at the event loop's delay. Default 100: at 10 they were nine tenths of what an idle agent costs, 0.4 % of a core. While one
   * is due within a few milliseconds, whatever wakes the loop costs the kernel another 6 us, for its timer.
   */
  readonly loopDelayMs?: number;
}

const loopDelayMsDefault = 100;

export function createMetrics({ process, loopDelayMs = loopDelayMsDefault }: MetricsOptions = {}): Metrics {
  const registry = new prom.Registry();
  if (process) prom.collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: loopDelayMs });
  const common = <L extends string>(metric: MetricOptions<L>) => ({
    name: `${prefix}${metric.name}`,
    help: metric.help,
    labelNames: [...(metric.labels ?? [])] as L[],
    registers: [registry],
  });
  return {
    counter: (metric) => {
      const counter = new prom.Counter(common(metric));
      return { inc: (labels, by = 1) => counter.inc(labels, by) };
    },
    gauge: (metric) => {
      const gauge = new prom.Gauge(common(metric));
      return { set: (labels, value) => gauge.set(labels, value), remove: (labels) => gauge.remove(labels) };
    },
    observedGauge: (metric, value) => {
      new prom.Gauge({
        ...common(metric),
        collect() {
          this.set(value());
        },
      });
    },
    observed: (metric, series) => {
      if (metric.type === 'gauge') {
        new prom.Gauge({
          ...common(metric),
          async collect() {
            const told = await series();
            this.reset();
            for (const [labels, value] of told) this.set(labels, value);
          },
        });
        return;
      }
      new prom.Counter({
        ...common(metric),
        async collect() {
          const told = await series();
          this.reset();
          for (const [labels, value] of told) this.inc(labels, value);
        },
      });
    },
    histogram: (metric) => {
      const histogram = new prom.Histogram({ ...common(metric), buckets: [...metric.buckets] });
      return { observe: (labels, value) => histogram.observe(labels, value) };
    },
    scrape: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  };
}
