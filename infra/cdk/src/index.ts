export type { Thresholds, Transactions } from './impact';
export type * from './policy';
export { ProtectedDeployment, type ProtectedDeploymentProps } from './protected-deployment';
export { Snapback, type SnapbackProps } from './snapback';
export { Traffic } from './traffic';
