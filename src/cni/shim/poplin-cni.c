/*
 * The CNI plugin that the container runtime executes. Build, with libc6-dev alone:
 *
 *   gcc -Wall -Wextra -Werror -Os -static -s -o poplin-cni poplin-cni.c
 *   (-DSOCKET_PATH='"/run/poplin/cni/cni.sock"' and -DQUEUE_PATH='"/var/lib/poplin/cni-queue"' change the defaults)
 *
 * The agent decides; this carries. It sends the agent its CNI_* environment and its stdin, and two descriptors that an agent with
 * CAP_NET_ADMIN alone could not make: the pod's network namespace and a NETLINK_ROUTE socket born inside it. Then it
 * prints the answer and exits with the agent's code. By itself it does three things only: VERSION; a well-formed error when the agent
 * is away (50 for STATUS, else 11, "try again later"); and a durable queue of DELs, so that pods can be deleted meanwhile.
 *
 * Wire, AF_UNIX SOCK_STREAM, all numbers u32 little endian:
 *   request:  length, then KEY=VALUE\0 ... \0 and stdin     [netns, netlink] travel with the first byte as SCM_RIGHTS, or none
 *   answer:   length, exit code, then what belongs on stdout
 *   receipt:  one byte, once the answer is read whole: an ADD whose caller went away without it is undone
 * A stream, because a configuration with prevResult has no bound that a datagram would honour.
 *
 * Queue: one file per attachment, CONTAINERID@IFNAME ('@' is not allowed in a container id), holding the request after its length word. It is
 * written to a temporary name, fsynced, renamed, and its directory fsynced, before success is claimed. A DEL repeated replaces its file.
 *
 * Environment: POPLIN_CNI_SOCKET and POPLIN_CNI_QUEUE replace the two paths. Exit code 1 goes with every error.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/netlink.h>

#ifndef SOCKET_PATH
#define SOCKET_PATH "/run/poplin/cni/cni.sock"
#endif
#ifndef QUEUE_PATH
#define QUEUE_PATH "/var/lib/poplin/cni-queue"
#endif
#define REQUEST_BYTES_MAX (1u << 20)
#define ANSWER_BYTES_MAX (1u << 20)
#define ANSWER_WAIT_SEC 90
#define SEND_WAIT_SEC 10
#define QUEUE_FILES_MAX 4096
#define QUEUE_NAME_BYTES_MAX 200

enum { CODE_ENVIRONMENT = 4, CODE_IO = 5, CODE_DECODE = 6, CODE_TRY_AGAIN = 11, CODE_NOT_AVAILABLE = 50 };

extern char **environ;

static char request[REQUEST_BYTES_MAX], answer[ANSWER_BYTES_MAX];
static size_t request_bytes, stdin_at;
/* Answers are in the caller's version; 1.1.0 until (or unless) stdin says which. */
static char version[16] = "1.1.0";

/* An error as the specification wants it on stdout. Texts are ours or strerror's: nothing in them needs escaping. */
static int fail(int code, const char *msg, const char *what, const char *why)
{
	printf("{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s\",\"details\":\"%s: %s\"}\n", version, code, msg, what, why);
	return 1;
}

/* The value of the top level's "cniVersion", wherever it stands: prevResult has one of its own. No check of the rest: the agent parses. */
static void read_version(const char *p, const char *end)
{
	int depth = 0, found = 0;

	for (; p < end; p++) {
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		else if (found && *p == ',')
			found = 0;
		if (*p != '"')
			continue;
		const char *text = ++p;
		while (p < end && *p != '"')
			p += *p == '\\' ? 2 : 1;
		if (p >= end)
			return;
		size_t length = p - text;
		if (found) {
			if (length && length < sizeof version && strspn(text, "0123456789.") == length) {
				memcpy(version, text, length);
				version[length] = 0;
			}
			return;
		}
		const char *next = p + 1;
		while (next < end && strchr(" \t\r\n", *next))
			next++;
		found = depth == 1 && length == 10 && !memcmp(text, "cniVersion", 10) && next < end && *next == ':';
	}
}

static int add_variable(const char *text)
{
	size_t length = strlen(text) + 1;

	if (length + 1 > sizeof request - request_bytes)
		return -1;
	memcpy(request + request_bytes, text, length);
	request_bytes += length;
	return 0;
}

static int read_stdin(void)
{
	request[request_bytes++] = 0;
	stdin_at = request_bytes;
	for (;;) {
		if (request_bytes == sizeof request) {
			errno = E2BIG;
			return -1;
		}
		ssize_t r = read(0, request + request_bytes, sizeof request - request_bytes);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r;
		request_bytes += r;
	}
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t r = write(fd, p, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -1;
		p += r;
		n -= r;
	}
	return 0;
}

static int read_all(int fd, void *to, size_t n)
{
	for (char *p = to; n;) {
		ssize_t r = read(fd, p, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			if (!r)
				errno = ECONNRESET;
			return -1;
		}
		p += r;
		n -= r;
	}
	return 0;
}

/* Descriptors need a byte of ordinary data to ride on: they go with the length word. */
static int send_head(int fd, uint32_t length, const int *fds, int count)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec iov = { &length, sizeof length };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r;

	if (count) {
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	do
		r = sendmsg(fd, &m, 0);
	while (r < 0 && errno == EINTR);
	return r == sizeof length ? 0 : -1;
}

/*
 * Opens what the agent needs inside the pod. A namespace that is gone is the agent's to judge: DEL does not mind, ADD does. It is told in a
 * variable that no runtime sets. setns needs no way back: this process does nothing else in the network, and a unix socket's
 * path belongs to no network namespace.
 */
static int open_pod(int *fds)
{
	const char *netns = getenv("CNI_NETNS"), *step = "open";
	char text[128];

	if (!netns || !*netns)
		return 0;
	fds[0] = open(netns, O_RDONLY | O_CLOEXEC);
	if (fds[0] >= 0) {
		step = "setns";
		if (!setns(fds[0], CLONE_NEWNET)) {
			step = "socket";
			fds[1] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
			if (fds[1] >= 0)
				return 2;
		}
	}
	snprintf(text, sizeof text, "POPLIN_NETNS_ERROR=%s: %s", step, strerror(errno));
	return add_variable(text);
}

static int connect_agent(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval answer_wait = { ANSWER_WAIT_SEC, 0 }, send_wait = { SEND_WAIT_SEC, 0 };
	const char *path = getenv("POPLIN_CNI_SOCKET");
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (s < 0)
		return -1;
	if (!path || !*path)
		path = SOCKET_PATH;
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	/* SO_SNDTIMEO bounds connect() as well: an agent that hangs with a full backlog counts as away. */
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &answer_wait, sizeof answer_wait);
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &send_wait, sizeof send_wait);
	return connect(s, (struct sockaddr *)&address, sizeof address) ? -1 : s;
}

/* Returns the bytes of the answer and sets the exit code, or -1 and the step that failed: then nobody knows how far the agent came. */
static ssize_t ask_agent(int s, const int *fds, int count, int *exit_code, const char **step)
{
	uint32_t head[2];

	*step = "send";
	if (send_head(s, request_bytes, fds, count) || write_all(s, request, request_bytes)) {
		/* The agent may refuse without reading (too many callers): its answer then stands in the receive queue all the same. */
		if (errno != EPIPE && errno != ECONNRESET)
			return -1;
	}
	*step = "answer";
	if (read_all(s, head, sizeof head))
		return -1;
	if (head[0] < 4 || head[0] - 4 > sizeof answer) {
		errno = EMSGSIZE;
		return -1;
	}
	if (read_all(s, answer, head[0] - 4))
		return -1;
	/* A failure means that the agent has died since: the answer stands, it was written down before it was given. */
	if (write_all(s, "", 1))
		errno = 0;
	*exit_code = (int)head[1];
	return head[0] - 4;
}

/* Creates the last component only: the rest of the path belongs to whoever installs. */
static int open_queue(const char *path)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return -1;
	int d = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = d < 0 ? NULL : fdopendir(dup(d));
	int files = 0;

	if (!list)
		return -1;
	while (readdir(list))
		files++;
	closedir(list);
	if (files - 2 < QUEUE_FILES_MAX)
		return d;
	errno = ENOSPC;
	return -1;
}

/* Keeps a DEL for the agent's return. Success means that it survives a power cut. */
static int queue_del(const char *away)
{
	const char *path = getenv("POPLIN_CNI_QUEUE"), *id = getenv("CNI_CONTAINERID"), *ifname = getenv("CNI_IFNAME");
	char name[QUEUE_NAME_BYTES_MAX + 1], temporary[QUEUE_NAME_BYTES_MAX + 32];

	if (!id || !*id || !ifname || !*ifname)
		return fail(CODE_ENVIRONMENT, "invalid environment", "DEL", "CNI_CONTAINERID and CNI_IFNAME are required");
	if (*id == '.' || strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != strlen(id) || strchr(ifname, '/'))
		return fail(CODE_ENVIRONMENT, "invalid environment", "DEL", "CNI_CONTAINERID or CNI_IFNAME is no valid name");
	if (snprintf(name, sizeof name, "%s@%s", id, ifname) >= (int)sizeof name)
		return fail(CODE_ENVIRONMENT, "invalid environment", "DEL", "CNI_CONTAINERID is too long to be queued");
	snprintf(temporary, sizeof temporary, ".%s.%d.tmp", name, (int)getpid());
	if (!path || !*path)
		path = QUEUE_PATH;

	int d = open_queue(path);
	if (d < 0)
		return fail(CODE_TRY_AGAIN, "poplin agent is away and the DEL could not be queued; try again later", "queue", strerror(errno));
	int f = openat(d, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (f < 0 || write_all(f, request, request_bytes) || fsync(f) || close(f) || renameat(d, temporary, d, name) || fsync(d)) {
		int e = errno;
		unlinkat(d, temporary, 0);
		return fail(CODE_TRY_AGAIN, "poplin agent is away and the DEL could not be queued; try again later", "queue", strerror(e));
	}
	fprintf(stderr, "poplin-cni: agent is away (%s), DEL of %s is queued in %s\n", away, name, path);
	return 0;
}

static int agent_away(const char *command, const char *step)
{
	const char *why = strerror(errno);

	if (!strcmp(command, "DEL"))
		return queue_del(why);
	if (!strcmp(command, "STATUS"))
		return fail(CODE_NOT_AVAILABLE, "poplin agent is not running: no pod can be added", step, why);
	return fail(CODE_TRY_AGAIN, "poplin agent is not reachable; try again later", step, why);
}

int main(void)
{
	const char *command = getenv("CNI_COMMAND"), *step = "connect";
	int fds[2], count, exit_code = 1;

	/* A caller that has gone must not kill us half way, and write() on the agent's socket must return EPIPE. */
	sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	if (!command || !*command)
		return fail(CODE_ENVIRONMENT, "invalid environment", "CNI_COMMAND", "is not set: this is a CNI plugin, a container runtime starts it");
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, "CNI_", 4) && add_variable(*e))
			return fail(CODE_ENVIRONMENT, "invalid environment", "CNI_*", "variables are too large");
	count = strcmp(command, "VERSION") ? open_pod(fds) : 0;
	if (count < 0)
		return fail(CODE_ENVIRONMENT, "invalid environment", "CNI_*", "variables are too large");
	if (read_stdin())
		return fail(errno == E2BIG ? CODE_DECODE : CODE_IO, "network configuration could not be read", "stdin", strerror(errno));
	read_version(request + stdin_at, request + request_bytes);
	if (!strcmp(command, "VERSION")) {
		printf("{\"cniVersion\":\"%s\",\"supportedVersions\":[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n", version);
		return fflush(stdout) ? 1 : 0;
	}

	int s = connect_agent();
	ssize_t bytes = s < 0 ? -1 : ask_agent(s, fds, count, &exit_code, &step);
	if (bytes < 0)
		return agent_away(command, step);
	return write_all(1, answer, bytes) ? 1 : exit_code;
}
