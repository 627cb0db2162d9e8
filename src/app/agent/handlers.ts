/** The answers to the routes of the API, composed from the parts of one host. */
import { ApiError } from '../../core/api/errors.ts';
import { openapiDocument } from '../../core/api/openapi.ts';
import type { HostView, VmSpec } from '../../core/model/vm.ts';
import { checkAdmission } from './admission.ts';
import type { AdmissionParts } from './admission.ts';
import type { History } from './history.ts';
import type { Handlers } from './http-server.ts';
import type { Migrations } from './migrations.ts';
import type { Reservations } from './reservations.ts';
import type { Vms } from './vms.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { AgentAutopilot } from './agent-autopilot.ts';

export type HandlerParts = {
  readonly host: string;
  readonly version: string;
  readonly peers: readonly string[];
  readonly vms: Vms;
  readonly migrations: Migrations;
  readonly reservations: Reservations;
  readonly admission: AdmissionParts;
  readonly history: History;
  readonly telemetry: Telemetry;
  readonly autopilot: AgentAutopilot;
};

export function createHandlers(parts: HandlerParts): Handlers {
  const { vms, migrations, history } = parts;
  return {
    health: async () => await Promise.resolve({ status: 'ok', name: parts.host }),
    host: async () => await hostView(parts),
    telemetry: async () => await parts.telemetry.latest(),
    telemetryHistory: async ({ query }) => await Promise.resolve(parts.telemetry.history(query.vm, query.minutes)),
    listVms: async () => ({ vms: await vms.list() }),
    showVm: async ({ params }) => await vms.show(params.name),
    startVm: async ({ body }) => {
      return await startVm(body.spec, parts);
    },
    adoptVm: async ({ body }) => {
      const { name, spec, qmp, qga } = body;
      if (spec.name !== name) {
        throw new ApiError(
          'INVALID_REQUEST',
          `The spec describes VM "${spec.name}", not "${name}"; nothing was adopted.`,
        );
      }
      return await vms.adopt(spec, qmp, qga ?? null);
    },
    stopVm: async ({ params, body }) => {
      return await vms.stop(params.name, body);
    },
    plan: async ({ body }, signal) => await migrations.plan(body, signal),
    startMigration: async ({ body }, signal) => {
      return await migrations.start(body, signal);
    },
    listMigrations: async () => await Promise.resolve({ migrations: migrations.list() }),
    showMigration: async ({ params }) => await Promise.resolve(migrations.find(params.id)),
    migrationEvents: ({ params }, signal) => migrations.events(params.id, signal),
    cancelMigration: async ({ params }) =>
      await Promise.resolve(migrations.cancel(params.id, 'A person asked for the abort')),
    resolveMigration: async ({ params, body }) => {
      migrations.resolve(params.id, body.word);
      return await Promise.resolve({ id: params.id, word: body.word });
    },
    history: async ({ query }) => await Promise.resolve({ reports: history.list(query) }),
    ...parts.autopilot.handlers,
    metrics: parts.telemetry.page,
    openapi: async () => await Promise.resolve(openapiDocument(parts.version)),
  };
}

async function hostView({ host, version, peers, vms, reservations, admission }: HandlerParts): Promise<HostView> {
  const facts = await admission.qemu.facts().catch(() => null);
  const used = vms.used();
  const reserved = reservations.reserved();
  const { capacity } = reservations;
  return {
    name: host,
    version,
    qemuVersion: facts?.version ?? null,
    memoryBytes: { capacity: capacity.memoryBytes, used: used.memoryBytes, reserved: reserved.memoryBytes },
    vcpus: { capacity: capacity.vcpus, used: used.vcpus, reserved: reserved.vcpus },
    vms: vms.count,
    peers: [...peers],
  };
}

async function startVm(spec: VmSpec, { vms, reservations, admission }: HandlerParts): ReturnType<Vms['start']> {
  const checked = await checkAdmission({ spec, machine: spec.machine }, admission);
  if (vms.isTaken(spec.name)) {
    const text = `There is a VM "${spec.name}" on this host already; nothing was started.`;
    throw new ApiError('VM_EXISTS', text, { vm: spec.name });
  }
  const need = { name: spec.name, memoryBytes: spec.memory, vcpus: spec.vcpus };
  const problems = [...reservations.problems(need, null), ...checked];
  if (problems.length > 0) {
    throw new ApiError('START_REFUSED', `VM "${spec.name}" was not started.`, { vm: spec.name }, { problems });
  }
  return await vms.start(spec);
}
