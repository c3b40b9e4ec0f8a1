/*
 * A burst of frames through a node, from the namespace of one pod to that of another and back, without sockets or a TCP of either: what
 * it takes is what the node takes, and a little for the sending. All frames are made before, with right checksums and sequence numbers.
 *
 *   packet-burst CPU CLIENT_NETNS SERVER_NETNS CLIENT_ADDRESS SERVER_ADDRESS PORT GATEWAY_MAC connections|throughput COUNT
 *
 * connections   COUNT TCP connections of eight packets: SYN, SYN+ACK, ACK, request, answer, FIN and FIN+ACK, last ACK. In groups, so that
 *               one system call sends many; within a connection nothing overtakes.
 * throughput    COUNT full segments on 64 connections that are there already, an ACK for every two.
 *
 * Sending into a veth runs the whole way through the node in the sender's own context: the processor time of this thread is that of the
 * node. With a GATEWAY_MAC that is not the node's, frames end there at once: that is what the sending itself takes. Prints one line:
 * wall ns, processor ns, frames sent, frames that arrived at the client's and at the server's interface meanwhile.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define GROUP 32
#define FLOWS 64
#define SEGMENT 1448
#define FIRST_PORT 10000
#define PACKET_QDISC_BYPASS 20

struct frame {
	unsigned char *bytes;
	int length, side;
};

static struct frame *frames;
static int frame_count;
static unsigned char macs[2][6], gateway[6];
static in_addr_t addresses[2];
static unsigned short port;
static int sockets[2];
static struct mmsghdr messages[2 * FLOWS];
static struct iovec parts[2 * FLOWS];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static unsigned sum16(const void *from, int length, unsigned sum)
{
	const unsigned char *p = from;

	for (; length > 1; length -= 2, p += 2)
		sum += p[0] << 8 | p[1];
	return length ? sum + (p[0] << 8) : sum;
}

static unsigned short folded(unsigned sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

/* side: 0 from the client, 1 from the server. Sequence numbers begin at 1 on both sides, the SYN has 0. */
static void add(int flow, int side, int flags, unsigned seq, unsigned ack, int payload)
{
	int length = 14 + 20 + 20 + payload;
	unsigned char *b = calloc(1, length);
	struct iphdr *ip = (void *)(b + 14);
	struct tcphdr *tcp = (void *)(b + 34);

	if (!b)
		fail("calloc");
	memcpy(b, gateway, 6);
	memcpy(b + 6, macs[side], 6);
	b[12] = 8;
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = htons(40 + payload);
	ip->frag_off = htons(0x4000);
	ip->ttl = 64;
	ip->protocol = 6;
	ip->saddr = addresses[side];
	ip->daddr = addresses[!side];
	ip->check = folded(sum16(ip, 20, 0));
	tcp->source = htons(side ? port : FIRST_PORT + flow);
	tcp->dest = htons(side ? FIRST_PORT + flow : port);
	tcp->seq = htonl(seq);
	tcp->ack_seq = htonl(ack);
	tcp->doff = 5;
	((unsigned char *)tcp)[13] = flags;
	tcp->window = htons(65535);
	tcp->check = folded(sum16(&ip->saddr, 8, sum16(tcp, 20 + payload, 6 + 20 + payload)));
	frames[frame_count++] = (struct frame){ b, length, side };
}

enum { FIN = 1, SYN = 2, PSH = 8, ACK = 16 };

static void open_flows(int first, int count)
{
	for (int i = first; i < first + count; i++)
		add(i, 0, SYN, 0, 0, 0);
	for (int i = first; i < first + count; i++)
		add(i, 1, SYN | ACK, 0, 1, 0);
	for (int i = first; i < first + count; i++)
		add(i, 0, ACK, 1, 1, 0);
}

static void exchange_and_close(int first, int count)
{
	for (int i = first; i < first + count; i++)
		add(i, 0, PSH | ACK, 1, 1, 100);
	for (int i = first; i < first + count; i++)
		add(i, 1, PSH | ACK, 1, 101, 200);
	for (int i = first; i < first + count; i++)
		add(i, 0, FIN | ACK, 101, 201, 0);
	for (int i = first; i < first + count; i++)
		add(i, 1, FIN | ACK, 201, 102, 0);
	for (int i = first; i < first + count; i++)
		add(i, 0, ACK, 102, 202, 0);
}

static void socket_in(const char *netns, int side)
{
	int one = 1, fd = open(netns, O_RDONLY | O_CLOEXEC);
	struct sockaddr_ll to = { .sll_family = AF_PACKET };

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		fail(netns);
	close(fd);
	/* Protocol 0: it gets nothing. */
	sockets[side] = socket(AF_PACKET, SOCK_RAW, 0);
	to.sll_ifindex = if_nametoindex("eth0");
	if (sockets[side] < 0 || bind(sockets[side], (void *)&to, sizeof to))
		fail("socket");
	if (setsockopt(sockets[side], SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one))
		fail("PACKET_QDISC_BYPASS");
}

/* Frames that the pod's interface has got. */
static long arrived(const char *netns)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);
	char line[512];
	long bytes, count = -1;
	FILE *dev;

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		fail(netns);
	close(fd);
	dev = fopen("/proc/thread-self/net/dev", "r");
	while (dev && fgets(line, sizeof line, dev))
		if (sscanf(line, " eth0: %ld %ld", &bytes, &count) == 2)
			break;
	if (dev)
		fclose(dev);
	return count;
}

static void send_frames(int from, int to)
{
	while (from < to) {
		int n = 0, side = frames[from].side;

		for (; from + n < to && n < 2 * FLOWS && frames[from + n].side == side; n++) {
			parts[n] = (struct iovec){ frames[from + n].bytes, frames[from + n].length };
			messages[n].msg_hdr = (struct msghdr){ .msg_iov = &parts[n], .msg_iovlen = 1 };
		}
		for (int done = 0; done < n;) {
			int sent = sendmmsg(sockets[side], messages + done, n - done, 0);

			if (sent < 0)
				fail("sendmmsg");
			done += sent;
		}
		from += n;
	}
}

static long long now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void parse_mac(const char *text, unsigned char *to)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", to, to + 1, to + 2, to + 3, to + 4, to + 5) != 6)
		fail(text);
}

int main(int argc, char **argv)
{
	cpu_set_t cpus;
	int prepared = 0, count;

	if (argc != 10)
		return 2;
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[1]), &cpus);
	if (sched_setaffinity(0, sizeof cpus, &cpus))
		fail("sched_setaffinity");
	addresses[0] = inet_addr(argv[4]);
	addresses[1] = inet_addr(argv[5]);
	port = atoi(argv[6]);
	parse_mac(argv[7], gateway);
	macs[0][0] = macs[1][0] = 2;
	macs[0][5] = 0xc;
	macs[1][5] = 0x5;
	count = atoi(argv[9]);
	frames = calloc(3 * FLOWS + 8 * (size_t)count, sizeof *frames);
	if (!frames)
		fail("calloc");
	if (!strcmp(argv[8], "connections")) {
		for (int i = 0; i < count; i += GROUP) {
			int size = count - i < GROUP ? count - i : GROUP;

			open_flows(i, size);
			exchange_and_close(i, size);
		}
	} else {
		open_flows(0, FLOWS);
		prepared = frame_count;
		/* Two segments of each flow in turn, and their ACK: windows are never full. */
		for (int i = 0; i < count / (2 * FLOWS); i++) {
			unsigned seq = 1 + 2 * i * SEGMENT;

			for (int flow = 0; flow < FLOWS; flow++) {
				add(flow, 0, ACK, seq, 1, SEGMENT);
				add(flow, 0, PSH | ACK, seq + SEGMENT, 1, SEGMENT);
			}
			for (int flow = 0; flow < FLOWS; flow++)
				add(flow, 1, ACK, 1, seq + 2 * SEGMENT, 0);
		}
	}
	socket_in(argv[2], 0);
	socket_in(argv[3], 1);
	send_frames(0, prepared);
	long client = arrived(argv[2]), server = arrived(argv[3]);
	long long wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
	send_frames(prepared, frame_count);
	cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
	wall = now(CLOCK_MONOTONIC) - wall;
	printf("%lld %lld %d %ld %ld\n", wall, cpu, frame_count - prepared, arrived(argv[2]) - client, arrived(argv[3]) - server);
	return 0;
}
