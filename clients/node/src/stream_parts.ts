/** What a caller pushes to a stream, as rows of arrays that fit its model. */

import type { Part } from "./backlog.js";
import { BadShape } from "./errors.js";
import type { AckLevel } from "./names.js";
import {
  asIdentifiers,
  asSamples,
  asTargets,
  asTimes,
  codesOf,
  type Identifiers,
  type Samples,
  type Targets,
  textsOf,
  type Times,
} from "./samples.js";

/** What a stream knows of its model. */
export interface StreamConfig {
  readonly model: string;
  readonly producer: string;
  readonly epoch: bigint;
  readonly ack: AckLevel;
  readonly dim: number;
  readonly targets: number;
  readonly needsKeys: boolean;
  readonly acceptsLateTargets: boolean;
  readonly channels: readonly string[] | undefined;
  readonly labelNames: readonly string[];
}

/** What may come with samples. */
export interface More {
  y?: Targets | undefined;
  keys?: Identifiers | undefined;
  ids?: Identifiers | undefined;
  times?: Times | undefined;
}

/** Return samples with what belongs to them. `single`: they must be one sample. */
export function samplesPart(config: StreamConfig, x: Samples, more: More, single: boolean): Part {
  const { y, keys, ids, times } = more;
  const samples = asSamples(x, single ? "a sample" : "samples");
  const { rows } = samples;
  if (single && rows !== 1) {
    throw new BadShape(`push takes one sample, not ${rows}; for several samples use pushMany`);
  }
  return {
    rows,
    input: {
      x: samples,
      y: y === undefined ? undefined : asTargets(codesOf(config.model, config.labelNames, y), rows),
      keys: keys === undefined ? undefined : asIdentifiers(keys, rows, "keys"),
      ids: ids === undefined ? undefined : asIdentifiers(ids, rows, "ids"),
      times: times === undefined ? undefined : asTimes(times, rows),
    },
    channels: samples.channels,
    keyNames: keys === undefined ? [] : textsOf(keys),
  };
}

/** Return targets of earlier samples. */
export function targetsPart(config: StreamConfig, ids: Identifiers, y: Targets, keys?: Identifiers): Part {
  const rows = Array.isArray(ids) || ids instanceof BigInt64Array ? ids.length : 1;
  return {
    rows,
    input: {
      y: asTargets(codesOf(config.model, config.labelNames, y), rows),
      keys: keys === undefined ? undefined : asIdentifiers(keys, rows, "keys"),
      ids: asIdentifiers(ids, rows, "ids"),
    },
    keyNames: keys === undefined ? [] : textsOf(keys),
  };
}

/** Refuse rows that the model does not accept: the daemon would refuse them, and end the stream. */
export function checkPart(config: StreamConfig, { input, channels }: Part): void {
  const { model, dim, targets, needsKeys, acceptsLateTargets, channels: expected } = config;
  const columns = input.y?.columns ?? 0;
  if (input.x === undefined && !acceptsLateTargets) {
    throw new BadShape(`'${model}' accepts no late targets; push targets together with their samples`);
  }
  if (input.x !== undefined && input.x.columns !== dim) {
    throw new BadShape(`a sample has ${input.x.columns} values and '${model}' takes ${dim}`, {
      columns: input.x.columns,
      expected: dim,
    });
  }
  if (columns !== targets && !(input.y === undefined && acceptsLateTargets)) {
    throw new BadShape(`a sample has ${columns} targets and '${model}' takes ${targets}`, {
      targets: columns,
      expected: targets,
    });
  }
  if ((input.keys !== undefined) !== needsKeys) {
    throw new BadShape(
      needsKeys
        ? `'${model}' needs a key for each sample; pass keys`
        : `'${model}' has no keys; leave keys out`,
    );
  }
  if (input.ids !== undefined && !acceptsLateTargets) {
    throw new BadShape(`'${model}' accepts no late targets and needs no ids; leave ids out`);
  }
  if (
    channels &&
    expected &&
    (channels.length !== expected.length || channels.some((name, i) => name !== expected[i]))
  ) {
    throw new BadShape(
      `the samples have the channels ${channels.join(", ")}; the model has ${expected.join(", ")}. ` +
        "Pass these channels in this order",
    );
  }
}
