export type * from './access.ts';
export { DIRECT_PATH, type DirectServiceOptions, directService } from './handler.ts';
export { type DirectStep, directSteps, encodePlan, type PlanRequest } from './plan.ts';
