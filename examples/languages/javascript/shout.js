// Every value in upper case.

// A column of which every entry is as in the source record.
const asInSource = { lens: new Int32Array(), data: new Uint8Array() };

const upper = (byte) => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte);

export const handler = {
  // The values lie end to end, so all of them are changed at once; their lengths stay, and so does
  // null, which is a length of -1.
  handle(batch) {
    return {
      sources: Uint32Array.from(batch.offsets, (_, index) => index),
      topics: asInSource,
      partitions: new Int32Array(),
      timestamps: new BigInt64Array(),
      keys: asInSource,
      values: { lens: batch.values.lens, data: batch.values.data.map(upper) },
      headers: { counts: new Int32Array(), names: asInSource, values: asInSource },
      failures: [],
    };
  },
};
