/** Syntax of names in the Kubernetes API (k8s.io/apimachinery/pkg/util/validation). Each returns what is wrong, or undefined. */

const dnsLabelPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const dnsSubdomainPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const qualifiedNamePattern = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

export function dnsLabelFault(text: string): string | undefined {
  if (text.length > 63) return 'is longer than 63 characters';
  return dnsLabelPattern.test(text)
    ? undefined
    : 'must be lower-case letters, digits and "-", beginning and ending with a letter or digit';
}

export function dnsSubdomainFault(text: string): string | undefined {
  if (text.length > 253) return 'is longer than 253 characters';
  return dnsSubdomainPattern.test(text)
    ? undefined
    : 'must be lower-case letters, digits, "-" and ".", each part beginning and ending with a letter or digit';
}

/** `name` or `prefix/name`. */
export function labelKeyFault(key: string): string | undefined {
  const parts = key.split('/');
  if (parts.length > 2) return 'has more than one "/"';
  const name = parts.at(-1)!;
  if (parts.length === 2) {
    const prefix = dnsSubdomainFault(parts[0]!);
    if (prefix) return `prefix ${JSON.stringify(parts[0])} ${prefix}`;
  }
  if (name === '') return 'has no name';
  if (name.length > 63) return 'has a name longer than 63 characters';
  return qualifiedNamePattern.test(name)
    ? undefined
    : 'must be letters, digits, "-", "_" and ".", beginning and ending with a letter or digit';
}

export function labelValueFault(value: string): string | undefined {
  if (value === '') return undefined;
  if (value.length > 63) return 'is longer than 63 characters';
  return qualifiedNamePattern.test(value)
    ? undefined
    : 'must be letters, digits, "-", "_" and ".", beginning and ending with a letter or digit';
}

/** IANA service name: what a container port may be called and a policy may name. */
export function portNameFault(name: string): string | undefined {
  if (name.length > 15) return 'is longer than 15 characters';
  if (!/^[-a-z0-9]+$/.test(name)) return 'must be lower-case letters, digits and "-"';
  if (!/[a-z]/.test(name)) return 'has no letter; a port number is written without quotes';
  if (name.includes('--')) return 'has two "-" in a row';
  return name.startsWith('-') || name.endsWith('-') ? 'begins or ends with "-"' : undefined;
}
