/**
 * Routes of the autopilot and of draining, a part of the route table (routes.ts).
 *
 * Those for `peers` are asked by other hosts' autopilots: a lease of any trusted host, all others only of hosts that this one
 * obeys (`autopilot.obey` in its configuration).
 */
import * as shape from './autopilot-schemas.ts';
import { migrationStateSchema, migrationViewSchema, movePlanSchema } from './schemas.ts';

export const autopilotRoutes = {
  autopilotLease: {
    method: 'POST',
    path: '/autopilot/lease',
    audience: 'peers',
    summary: "Asks this host to obey the caller's autopilot for a while, or gives that back (ttlMs 0)",
    body: shape.leaseRequestSchema,
    response: shape.leaseAnswerSchema,
    status: 200,
  },
  autopilotPlan: {
    method: 'POST',
    path: '/autopilot/plans',
    audience: 'peers',
    summary: 'Predicts the move of a VM of this host, for an autopilot that it obeys',
    body: shape.planOrderSchema,
    response: movePlanSchema,
    status: 200,
  },
  autopilotMove: {
    method: 'POST',
    path: '/autopilot/moves',
    audience: 'peers',
    summary: 'Moves a VM of this host, for the autopilot that has its lease',
    body: shape.moveOrderSchema,
    response: migrationViewSchema,
    status: 201,
  },
  autopilotMoveState: {
    method: 'GET',
    path: '/autopilot/moves/{id}',
    audience: 'peers',
    summary: 'What has become of a move that was ordered',
    params: shape.moveParamsSchema,
    response: migrationStateSchema,
    status: 200,
  },
  autopilotStatus: {
    method: 'GET',
    path: '/autopilot',
    audience: 'local',
    summary: 'What the autopilot of this host does, and why',
    response: shape.autopilotStatusSchema,
    status: 200,
  },
  autopilotOn: {
    method: 'POST',
    path: '/autopilot/on',
    audience: 'local',
    summary: 'Turns the autopilot on, or changes its settings; it stays on when the agent is restarted',
    body: shape.autopilotOnSchema,
    response: shape.autopilotStatusSchema,
    status: 200,
  },
  autopilotOff: {
    method: 'POST',
    path: '/autopilot/off',
    audience: 'local',
    summary: 'Turns the autopilot off; moves under way are finished',
    response: shape.autopilotStatusSchema,
    status: 200,
  },
  autopilotRound: {
    method: 'POST',
    path: '/autopilot/rounds',
    audience: 'local',
    summary: 'Decides once, moves nothing, and says what would be done',
    body: shape.autopilotRoundRequestSchema,
    response: shape.autopilotRoundSchema,
    status: 200,
  },
  autopilotLog: {
    method: 'GET',
    path: '/autopilot/log',
    audience: 'local',
    summary: 'What the autopilot of this host decided, with its reasons',
    query: shape.autopilotLogQuerySchema,
    response: shape.autopilotLogSchema,
    status: 200,
  },
  drain: {
    method: 'POST',
    path: '/drain',
    audience: 'peers',
    summary: 'Moves every VM off a host, which takes no others until it is undrained',
    body: shape.drainRequestSchema,
    response: shape.drainViewSchema,
    status: 200,
  },
  drainState: {
    method: 'GET',
    path: '/drain/{host}',
    audience: 'peers',
    summary: 'How far the draining of a host is',
    params: shape.drainHostSchema,
    response: shape.drainViewSchema,
    status: 200,
  },
  undrain: {
    method: 'POST',
    path: '/undrain',
    audience: 'peers',
    summary: 'The host takes VMs again; what has moved stays where it is',
    body: shape.drainHostSchema,
    response: shape.drainViewSchema,
    status: 200,
  },
} as const;
