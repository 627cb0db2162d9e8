import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainMissingRights, readMemoryRights } from './memory-rights.ts';

const own = { ownUid: 1000, processUid: 1000, hasPtraceCapability: false, ptraceScope: 0 };

test('another user and Yama are named together', () => {
  const text = explainMissingRights({ ...own, processUid: 64055, ptraceScope: 1 });
  assert.match(text, /user 64055 and this process runs as user 1000 and kernel\.yama\.ptrace_scope is 1/);
  assert.match(text, /CAP_SYS_PTRACE/);
});

test('shared memory is advised only where it would help', () => {
  assert.match(explainMissingRights({ ...own, ptraceScope: 1 }), /or set sharedMemory/);
  assert.doesNotMatch(explainMissingRights({ ...own, processUid: 64055 }), /sharedMemory/);
});

test('with the capability only Yama 3 or a container can be the cause', () => {
  assert.match(explainMissingRights({ ...own, hasPtraceCapability: true, ptraceScope: 3 }), /ptrace_scope=3/);
  assert.match(explainMissingRights({ ...own, hasPtraceCapability: true }), /container/);
});

test('the rights of this process can be read', () => {
  const rights = readMemoryRights(process.pid);
  assert.equal(rights.ownUid, process.geteuid?.());
  assert.equal(rights.processUid, process.geteuid?.());
});
