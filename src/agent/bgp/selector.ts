/** Calico selectors over node labels, each parsed once. */
import { type Labels, parseSelector } from '#model';

export type SelectorMatch = (selector: string, labels: Labels) => boolean | { readonly error: string };

/** Keeps what it parsed for as long as the returned function is held. */
export function createSelectorMatch(): SelectorMatch {
  const parsed = new Map<string, ReturnType<typeof parseSelector>>();
  return (text, labels) => {
    let selector = parsed.get(text);
    if (!selector) {
      selector = parseSelector(text);
      parsed.set(text, selector);
    }
    return 'error' in selector ? { error: selector.error } : selector.matches(labels);
  };
}
