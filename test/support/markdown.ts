/** Fenced blocks of a Markdown document, with what stands behind the language: ```` ```sh run=install on=every-node ````. */

export interface FencedBlock {
  readonly language: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly text: string;
}

const fence = /^```(\S*)(.*)\n([\s\S]*?)^```$/gm;

export function fencedBlocks(markdown: string): readonly FencedBlock[] {
  return [...markdown.matchAll(fence)].map(([, language = '', rest = '', text = '']) => ({
    language,
    attributes: Object.fromEntries([...rest.matchAll(/(\S+?)=(\S+)/g)].map(([, key, value]) => [key!, value!])),
    text,
  }));
}
