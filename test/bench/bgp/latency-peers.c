/*
 * The two peers of the latency bench: one sends a change, the other gets it. As little as there can be beside the speaker: one thread, no memory
 * taken while it measures, and the end of a sample is when the kernel got the packet (SO_TIMESTAMPNS), not when this process came to read it.
 * What is left of its own in a sample is the system call that sends.
 *
 *   latency-peers SPEAKER SENDER ASN RECEIVER ASN      IPv4 addresses; says "up" once both sessions are
 *
 * then, of lines on stdin:
 *   load FILE PREFIXES          sends the messages in FILE; says "loaded" once as many prefixes have come
 *   latency COUNT PER_SECOND    COUNT times announces a prefix, waits for it, withdraws it and waits for that, with so many other changes beside it;
 *                               a line for each sample: what it was, when it began (ms since 1970), how long it took (ms); then "done"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>

enum { OPEN = 1, UPDATE = 2, NOTIFICATION = 3, KEEPALIVE = 4 };
enum { HEADER_BYTES = 19, MESSAGE_BYTES_MAX = 4096, PORT = 179, HOLD_TIME_SEC = 90, REDIAL_MS = 100 };
/* Prefixes of one kind that are in use at a time. */
enum { CHANGING = 200, SAMPLES_MAX = 100000 };
/* Apart from those of the table: /24s from here. */
static const uint32_t probe_base = 0xc6120000, churn_base = 0xc6130000;
/* Beside a steady stream of changes the samples are spread over it. */
static const double rest_ms = 2;

struct session {
	struct in_addr address;
	unsigned asn;
	int fd, up;
	size_t length;
	uint8_t bytes[1 << 18];
};
static struct session sender, receiver;
static struct in_addr speaker;

static unsigned long announced;
/* What is waited for, and when the kernel got it (ms since 1970; 0: not yet). */
static uint32_t probed;
static int probed_withdrawn;
static double seen_ms;

static struct {
	double every_ms, due_ms;
	unsigned long count;
} churn;

static double samples[2][SAMPLES_MAX][2];

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static double ms_of(const struct timespec *t)
{
	return t->tv_sec * 1e3 + t->tv_nsec / 1e6;
}

/* The clock that the kernel stamps packets with. */
static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return ms_of(&t);
}

static uint8_t *put(uint8_t *to, uint32_t value, int octets)
{
	while (octets-- > 0)
		*to++ = value >> (8 * octets);
	return to;
}

static unsigned word(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

/* Blocking: what a speaker does not read holds everything up, which is what it would do to a peer. */
static void send_message(struct session *s, uint8_t *message, uint8_t *end, int type)
{
	memset(message, 255, 16);
	put(put(message + 16, end - message, 2), type, 1);
	if (send(s->fd, message, end - message, MSG_NOSIGNAL) != end - message)
		fail("send");
}

static void send_open(struct session *s)
{
	uint8_t message[64], *at = message + HEADER_BYTES;

	at = put(put(put(at, 4, 1), s->asn, 2), HOLD_TIME_SEC, 2);
	at = put(at, ntohl(s->address.s_addr), 4);
	/* Capabilities: IPv4 unicast, route refresh, 4-octet AS numbers. */
	at = put(put(put(put(at, 16, 1), 2, 1), 14, 1), 0x0104, 2);
	at = put(put(put(at, 0x00010001, 4), 0x0200, 2), 0x4104, 2);
	send_message(s, message, put(at, s->asn, 4), OPEN);
}

static void send_keepalive(struct session *s)
{
	uint8_t message[HEADER_BYTES];

	send_message(s, message, message + HEADER_BYTES, KEEPALIVE);
}

static void send_change(uint32_t prefix, int withdrawn)
{
	uint8_t message[64], *at = message + HEADER_BYTES;

	at = put(at, withdrawn ? 4 : 0, 2);
	if (withdrawn)
		at = put(put(at, 24, 1), prefix >> 8, 3);
	at = put(at, withdrawn ? 0 : 20, 2);
	if (!withdrawn) {
		/* ORIGIN IGP; AS_PATH of the sender; NEXT_HOP. */
		at = put(at, 0x40010100, 4);
		at = put(put(at, 0x40020602, 4), 1, 1);
		at = put(put(at, sender.asn, 4), 0x400304, 3);
		at = put(put(put(at, ntohl(sender.address.s_addr), 4), 24, 1), prefix >> 8, 3);
	}
	send_message(&sender, message, at, UPDATE);
}

static void dial(struct session *s)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = s->address};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = speaker, .sin_port = htons(PORT)};
	int on = 1;

	s->up = 0;
	s->length = 0;
	for (;;) {
		s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (s->fd < 0 || bind(s->fd, (void *)&from, sizeof from))
			fail("bind");
		if (!connect(s->fd, (void *)&to, sizeof to))
			break;
		close(s->fd);
		usleep(REDIAL_MS * 1000);
	}
	if (setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
	    setsockopt(s->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on))
		fail("setsockopt");
	send_open(s);
}

static void prefixes(const uint8_t *at, const uint8_t *end, int withdrawn, double got_ms)
{
	for (; at < end; at += 1 + (at[0] + 7) / 8) {
		announced += !withdrawn;
		if (at[0] == 24 && withdrawn == probed_withdrawn && (uint32_t)(at[1] << 16 | at[2] << 8 | at[3]) == probed >> 8)
			seen_ms = got_ms;
	}
}

static void message(struct session *s, const uint8_t *m, const uint8_t *end, double got_ms)
{
	switch (m[18]) {
	case OPEN:
		send_keepalive(s);
		break;
	case KEEPALIVE:
		if (s->up)
			send_keepalive(s);
		s->up = 1;
		break;
	case NOTIFICATION:
		fprintf(stderr, "notification %u/%u\n", m[19], m[20]);
		exit(1);
	case UPDATE: {
		const uint8_t *attributes = m + 21 + word(m + 19), *nlri = attributes + 2 + word(attributes);

		prefixes(m + 21, attributes, 1, got_ms);
		prefixes(nlri, end, 0, got_ms);
	}
	}
}

static void read_some(struct session *s)
{
	char control[256];
	struct iovec room = {s->bytes + s->length, sizeof s->bytes - s->length};
	struct msghdr header = {.msg_iov = &room, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	ssize_t got = recvmsg(s->fd, &header, 0);
	double got_ms = 0;
	size_t at = 0;

	if (got <= 0 && !s->up) {
		/* Who has only begun may refuse: it is called again. */
		close(s->fd);
		usleep(REDIAL_MS * 1000);
		dial(s);
		return;
	}
	if (got <= 0)
		fail("closed by the speaker");
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
			struct timespec t;

			memcpy(&t, CMSG_DATA(c), sizeof t);
			got_ms = ms_of(&t);
		}
	s->length += got;
	while (s->length - at >= HEADER_BYTES && s->length - at >= word(s->bytes + at + 16)) {
		uint8_t *m = s->bytes + at;

		at += word(m + 16);
		message(s, m, s->bytes + at, got_ms);
	}
	s->length -= at;
	memmove(s->bytes, s->bytes + at, s->length);
}

/*
 * What there is to read, or to change, until something was done, or `end_ms` has come; INFINITY: what there is to read alone, and without a timer, which
 * the kernel would set while a sample is under way. 0: stdin has something, where it was asked for.
 */
static int turn(double end_ms, int events, int commands)
{
	struct pollfd fds[] = {{sender.fd, POLLIN | events, 0}, {receiver.fd, POLLIN, 0}, {commands ? 0 : -1, POLLIN, 0}};
	double now = now_ms();
	struct timespec wait = {0, 0};
	int timed = end_ms < INFINITY;

	if (timed && churn.every_ms > 0 && now >= churn.due_ms) {
		send_change(churn_base + (churn.count % CHANGING) * 256, churn.count / CHANGING % 2);
		churn.count++;
		churn.due_ms += churn.every_ms;
		return 1;
	}
	if (timed && churn.every_ms > 0 && churn.due_ms < end_ms)
		end_ms = churn.due_ms;
	if (timed && end_ms > now) {
		double left = end_ms - now < 1000 ? end_ms - now : 1000;

		wait.tv_sec = left / 1e3;
		wait.tv_nsec = (left - wait.tv_sec * 1e3) * 1e6;
	}
	if (ppoll(fds, 3, timed ? &wait : NULL, NULL) < 0)
		fail("poll");
	if (fds[0].revents & ~POLLOUT)
		read_some(&sender);
	if (fds[1].revents)
		read_some(&receiver);
	return !fds[2].revents;
}

static void load(const char *name, unsigned long wanted)
{
	FILE *file = fopen(name, "r");
	uint8_t *bytes;
	long length, sent = 0;

	if (!file || fseek(file, 0, SEEK_END) || (length = ftell(file)) < 0 || !(bytes = malloc(length)))
		fail(name);
	rewind(file);
	if (fread(bytes, 1, length, file) != (size_t)length)
		fail(name);
	announced = 0;
	while (announced < wanted || sent < length) {
		ssize_t n = send(sender.fd, bytes + sent, length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			fail("send");
		sent += n > 0 ? n : 0;
		turn(now_ms() + 1000, sent < length ? POLLOUT : 0, 0);
	}
	free(bytes);
	fclose(file);
	printf("loaded\n");
}

static void probe(uint32_t prefix, int withdrawn, double *sample)
{
	probed = prefix;
	probed_withdrawn = withdrawn;
	seen_ms = 0;
	sample[0] = now_ms();
	send_change(prefix, withdrawn);
	while (seen_ms == 0)
		turn(INFINITY, 0, 0);
	sample[1] = seen_ms - sample[0];
}

static void latency(int count, double per_second)
{
	if (count > SAMPLES_MAX)
		count = SAMPLES_MAX;
	churn.every_ms = per_second > 0 ? 1000 / per_second : 0;
	churn.due_ms = now_ms() + churn.every_ms;
	for (int n = 0; n < count; n++) {
		uint32_t prefix = probe_base + n % CHANGING * 256;

		probe(prefix, 0, samples[0][n]);
		probe(prefix, 1, samples[1][n]);
		for (double end = now_ms() + rest_ms; per_second > 0 && now_ms() < end;)
			turn(end, 0, 0);
	}
	churn.every_ms = 0;
	for (int withdrawn = 0; withdrawn < 2; withdrawn++)
		for (int n = 0; n < count; n++)
			printf("%s %.4f %.4f\n", withdrawn ? "withdraw" : "announce", samples[withdrawn][n][0], samples[withdrawn][n][1]);
	printf("done\n");
}

int main(int argc, char **argv)
{
	char line[4200], file[4096];
	unsigned long prefixes;
	int count;
	double per_second;

	if (argc != 6 || !inet_aton(argv[1], &speaker) || !inet_aton(argv[2], &sender.address) ||
	    !inet_aton(argv[4], &receiver.address))
		return 2;
	sender.asn = atoi(argv[3]);
	receiver.asn = atoi(argv[5]);
	/* Its pages are there before they are needed. */
	memset(samples, 1, sizeof samples);
	dial(&sender);
	dial(&receiver);
	while (!sender.up || !receiver.up)
		turn(now_ms() + 1000, 0, 0);
	printf("up\n");
	for (;;) {
		fflush(stdout);
		while (turn(now_ms() + 1000, 0, 1))
			;
		if (!fgets(line, sizeof line, stdin))
			return 0;
		if (sscanf(line, "load %4095s %lu", file, &prefixes) == 2)
			load(file, prefixes);
		else if (sscanf(line, "latency %d %lf", &count, &per_second) == 2)
			latency(count, per_second);
		else
			return 2;
	}
}
