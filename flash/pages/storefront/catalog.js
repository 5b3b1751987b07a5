/**
 * Names of items, and which of them a visitor is looking for. Names are three words; the service says once which words
 * there are, and for each block of items which of them they bear.
 */

const BLOCKS_AT_ONCE = 4;

export class Catalog {
  #client;
  #lists = null;
  #blocks = new Map();
  #loading = new Map();

  constructor(client) {
    this.#client = client;
  }

  async load() {
    const catalog = await this.#client.catalog();
    this.kinds = catalog.kinds;
    this.colours = catalog.colours;
    this.codeSeconds = catalog.code_seconds;
    this.#lists = {
      blockItems: catalog.block_items,
      colours: catalog.colours.flatMap((group, index) => group.words.map((word) => ({ word, group: index }))),
      materials: catalog.materials,
      kinds: catalog.kinds.flatMap((group, index) => group.words.map((word) => ({ word, group: index }))),
    };
  }

  /** Make sure that the names of these items are known. */
  async loadNames(firstId, count) {
    const { blockItems } = this.#lists;
    const missing = [];
    for (let block = Math.floor(firstId / blockItems); block * blockItems < firstId + count; block += 1) {
      if (!this.#blocks.has(block)) missing.push(block);
    }
    const load = async () => {
      for (let block; (block = missing.shift()) !== undefined; ) await this.#load(block);
    };
    await Promise.all(Array.from({ length: BLOCKS_AT_ONCE }, load));
  }

  /** The name, and the positions of the item's colour and kind in `colours` and `kinds`; null while they are unknown. */
  describe(itemId) {
    const words = this.#words(itemId);
    if (words === null) return null;
    const { colours, materials, kinds } = this.#lists;
    const colour = colours[words[0]];
    const kind = kinds[words[2]];
    return { name: `${colour.word} ${materials[words[1]]} ${kind.word}`, colour: colour.group, kind: kind.group };
  }

  /** The places, from 0, of those of `count` items whose names have all the words begun in `query`, and so on. */
  search(firstId, count, { query = "", kind = null, colour = null }) {
    const wanted = query.toLowerCase().split(/\s+/).filter(Boolean);
    const asNumber = wanted.length === 1 && /^\d+$/.test(wanted[0]) ? Number(wanted[0]) : null;
    const fits = wanted.map((start) => this.#wordsBeginningWith(start));
    const places = [];
    for (let place = 0; place < count; place += 1) {
      const words = this.#words(firstId + place);
      if (words === null) continue;
      if (kind !== null && this.#lists.kinds[words[2]].group !== kind) continue;
      if (colour !== null && this.#lists.colours[words[0]].group !== colour) continue;
      const isNamed = fits.every((fit) => fit.some((list, position) => list.has(words[position])));
      if (isNamed || firstId + place === asNumber) places.push(place);
    }
    return places;
  }

  /** Once, however many ask. */
  #load(block) {
    if (!this.#loading.has(block)) {
      const loading = this.#client.catalogBlock(block).then(({ words }) => this.#blocks.set(block, words));
      this.#loading.set(block, loading.finally(() => this.#loading.delete(block)));
    }
    return this.#loading.get(block);
  }

  #words(itemId) {
    const block = Math.floor(itemId / this.#lists.blockItems);
    const words = this.#blocks.get(block);
    const start = 3 * (itemId - block * this.#lists.blockItems);
    return words === undefined ? null : words.subarray(start, start + 3);
  }

  /** For each of the three words of a name, the positions whose words begin so; also "lamp" of "Table Lamp". */
  #wordsBeginningWith(start) {
    const begins = (word) => word.toLowerCase().split(/[ -]/).some((part) => part.startsWith(start));
    const { colours, materials, kinds } = this.#lists;
    return [colours.map((one) => one.word), materials, kinds.map((one) => one.word)].map(
      (words) => new Set(words.flatMap((word, position) => (begins(word) ? [position] : []))),
    );
  }
}
