/** By themselves, because the command line names them before it loads the bench. */
export const setNames = ['main', 'quick', 'servers', 'scaling', 'prediction'] as const;
export type SetName = (typeof setNames)[number];
