export { type ApiOptions, api, apiErrors } from './api.ts';
export { type Explanation, explain } from './explain.ts';
export { type NodeDetail, type NodeSummary, nodeDetail, nodeSummary, nodeTimeline, type TimelineEntry } from './node-view.ts';
export { json, problem, type Route, router } from './router.ts';
