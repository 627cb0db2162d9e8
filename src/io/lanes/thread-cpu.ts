/** Processor time of the calling thread since its start, in milliseconds: what it waited for a processor is not in it. */
export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
