export { decidePreflight, type PreflightReport } from './decide.ts';
export { preflightFacts } from './facts.ts';
