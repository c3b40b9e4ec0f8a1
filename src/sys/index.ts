/** Everything that speaks to the kernel: system calls, netlink, namespaces, sockets, processes, durable files, /proc/sys. */
export * from './capabilities.ts';
export * from './constants.ts';
export * from './epoll.ts';
export * from './exec.ts';
export * from './fd.ts';
export * from './files.ts';
export * from './interface-index.ts';
export * as libc from './libc.ts';
export * from './msghdr.ts';
export * from './netlink/index.ts';
export * from './netns.ts';
export * from './router-socket.ts';
export * from './sockaddr.ts';
export * from './sys-error.ts';
export * from './sysctl.ts';
export * from './tcp.ts';
export * from './unix-server.ts';
export * from './watch.ts';
