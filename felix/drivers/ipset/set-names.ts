/** Kernel names of wanted sets: each id is hashed once, since it may be as long as the policy that it comes from. */
import type { IpFamily } from '#kit';
import type { SetId } from '#model';
import { type KernelSetType, kernelSetName, type Names } from '../../render/names.ts';

export class SetNames {
  readonly #names: Names;
  readonly #known = new Map<SetId, { readonly type: KernelSetType; readonly names: Map<IpFamily, string> }>();

  constructor(names: Names) {
    this.#names = names;
  }

  /** @param keep until `forget`. */
  nameOf(id: SetId, type: KernelSetType, family: IpFamily, keep: boolean): string {
    const known = this.#known.get(id);
    const names = known?.type === type ? known.names : new Map<IpFamily, string>();
    const name = names.get(family) ?? kernelSetName(this.#names, family, type, id);
    if (keep) this.#known.set(id, { type, names: names.set(family, name) });
    return name;
  }
  forget(id: SetId): void {
    this.#known.delete(id);
  }
  /** Of any agent with these names. */
  isOurs(name: string): boolean {
    const { setPrefix } = this.#names;
    return name.startsWith(`${setPrefix}4-`) || name.startsWith(`${setPrefix}6-`);
  }
}
