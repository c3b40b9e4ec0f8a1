/*
 * Starts a CNI plugin as a container runtime does, and measures it: pipes, posix_spawn (vfork, so the cost does not depend on the
 * caller's size, as with the runtimes written in Go), configuration in, answer out, wait. Its own start is not in the time.
 *
 *   launcher PLUGIN < configuration        prints milliseconds on a line, then the plugin's stdout; exits with the plugin's code
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char config[1 << 20], answer[1 << 20];

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static size_t read_end(int fd, char *to, size_t max)
{
	size_t n = 0;
	ssize_t r;

	while (n < max && (r = read(fd, to + n, max - n)) > 0)
		n += r;
	return n;
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	int in[2], out[2], status;
	pid_t child;

	if (argc != 2)
		return 2;
	size_t bytes = read_end(0, config, sizeof config);
	double started = now_ms();
	if (pipe2(in, 02000000) || pipe2(out, 02000000))
		return 2;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	if (posix_spawn(&child, argv[1], &actions, NULL, argv + 1, environ))
		return 2;
	close(in[0]);
	close(out[1]);
	if (write(in[1], config, bytes) != (ssize_t)bytes)
		return 2;
	close(in[1]);
	size_t got = read_end(out[0], answer, sizeof answer);
	waitpid(child, &status, 0);
	printf("%.3f\n", now_ms() - started);
	fwrite(answer, 1, got, stdout);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
