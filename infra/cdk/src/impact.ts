/** When customers are hurt: thresholds of the alarms. What is left out has the default of the template. */
export interface Thresholds {
  /**
   * Requests of a minute below which no rate and no percentile is formed.
   *
   * @default 20
   */
  readonly requestsMin?: number;
  /**
   * Per cent of requests that may fail: 5xx, function errors, throttles.
   *
   * @default 1
   */
  readonly errorPercent?: number;
  /**
   * Per cent of requests that may be answered with 4xx. Not with `Traffic.lambda()`, which has no such answers.
   *
   * @default 20
   */
  readonly clientErrorPercent?: number;
  /**
   * Milliseconds that 99 of 100 requests may take.
   *
   * @default 3000
   */
  readonly latencyP99Ms?: number;
  /**
   * Per cent of requests that must get a good answer.
   *
   * @default 99
   */
  readonly availabilityPercent?: number;
  /**
   * Attempts at a transaction in a minute below which no rate is formed.
   *
   * @default 10
   */
  readonly transactionsMin?: number;
  /**
   * Per cent of transactions that may fail.
   *
   * @default 2
   */
  readonly transactionFailurePercent?: number;
  /**
   * Service level objective: per cent of requests that must be good.
   *
   * @default 99.9
   */
  readonly objective?: number;
}

/** Metrics with which the service counts its business transactions, with the dimension `Service`. */
export interface Transactions {
  /** Namespace of both metrics. */
  readonly namespace: string;
  /** Metric that counts attempts. */
  readonly all: string;
  /** Metric that counts those that failed. */
  readonly bad: string;
  /**
   * Value of the dimension `Service`.
   *
   * @default the service of the policy, else the function's name
   */
  readonly service?: string;
}
