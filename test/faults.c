// SPDX-License-Identifier: GPL-2.0
/*
 * A host that breaks its promises: the guest runs on, gets its pages back and
 * says what happened once. For a QEMU with qemu/faults.patch, whose balloon is
 * called "balloon" and sits in the port "root1".
 */
#define _GNU_SOURCE
#include <sched.h>

#include "host.h"
#include "page_hinting_load.h"

#define OOM_STEP	MIB(1)
#define OOM_NOISE	MIB(6)
#define OOM_LAST	MIB(48)
#define OOM_CHUNK	MIB(16)
#define OOM_GAP_MS	30
#define STALL_MS	1500
#define SAMPLES		16
#define COMPLAINT	"no more page hinting"

static char balloon[64];

/* A balloon that is plugged again has another name. */
static bool balloon_there(void)
{
	return find_balloon(balloon, sizeof(balloon));
}

static bool wait_until(bool (*is_so)(void))
{
	long deadline = now_ms() + PATIENCE_MS;

	while (!is_so()) {
		if (now_ms() > deadline)
			return false;
		sleep_ms(POLL_MS);
	}
	return true;
}

static bool nothing_in_flight(void)
{
	return !get_tunable("inflight_kb");
}

static bool something_in_flight(void)
{
	return get_tunable("inflight_kb");
}

static bool balloon_gone(void)
{
	char name[64];

	return !find_balloon(name, sizeof(name));
}

static bool expect(bool good, const char *what)
{
	if (!good)
		ksft_print_msg("not so: %s\n", what);
	return good;
}

/* It goes to the host at the next tick, however soon such memory was used before. */
static void free_some(void)
{
	set_tunable("min_age_ms", 0);
	munmap(touch_blocks(STEP), STEP);
	release_gaps();
}

/* Free memory to a host that does not answer, until no more is sent. */
static bool stall(void)
{
	unsigned long seen;

	set_fault("hold");
	free_some();
	/* How long it takes depends on how soon such memory was used before. */
	wait_until(something_in_flight);
	sleep_ms(STALL_MS);
	seen = get_tunable("inflight_kb");
	ksft_print_msg("%lu KiB in flight\n", seen);
	return expect(seen, "something is in flight") &&
	       expect(seen <= get_tunable("max_inflight_kb"), "no more than may be") &&
	       expect(seen <= meminfo_bytes("MemTotal") / 1024 / 32,
		      "no more than 1/32 of memory");
}

static bool rebind(void)
{
	int err = write_text(BALLOON_DIR "unbind", balloon);
	bool good = expect(!err, "unbind works");

	good &= expect(nothing_in_flight(), "all is back after unbind");
	err = write_text(BALLOON_DIR "bind", balloon);
	return good && expect(!err, "bind works");
}

/* How often the kernel has said it, since it started. */
static unsigned int complaints(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	unsigned int seen = 0;
	char line[2048];
	ssize_t n;

	if (fd < 0)
		ksft_exit_fail_perror("/dev/kmsg");
	while ((n = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		line[n > 0 ? n : 0] = '\0';
		seen += !!strstr(line, COMPLAINT);
	}
	close(fd);
	return seen;
}

/* It never answers: the guest runs on, and unbinding brings the pages back. */
static int test_never(void)
{
	struct hints before, after;
	bool good;

	good = settle(&before) && stall();
	read_hints(&before);
	free_some();
	sleep_ms(STALL_MS);
	read_hints(&after);
	good &= expect(after.reported == before.reported, "nothing is reported");
	good &= rebind();
	set_fault("none");
	return pass_if(good && hints_arrive());
}

/* It answers in the end, the last batch first. */
static int test_late(void)
{
	struct hints before;
	bool good = settle(&before) && stall();

	set_fault("none");
	return pass_if(good && expect_reported(&before, percent(STEP, 80)));
}

static bool works_in_spite_of(const char *fault)
{
	bool good;

	set_fault(fault);
	good = hints_arrive();
	set_fault("none");
	return good && hints_arrive();
}

static int test_length(void)
{
	return pass_if(works_in_spite_of("length"));
}

static int test_spurious(void)
{
	return pass_if(works_in_spite_of("spurious"));
}

/* The queue cannot be used any more, and the pages come back all the same. */
static bool survives(const char *fault, bool loses)
{
	unsigned int said = complaints();
	struct hints before, after;
	bool good;

	good = settle(&before);
	set_fault(fault);
	free_some();
	sleep_ms(STALL_MS);
	good &= expect(wait_until(nothing_in_flight), "all is back");
	free_some();
	sleep_ms(STALL_MS);
	read_hints(&after);
	good &= expect(balanced(&after), "all is accounted for");
	good &= expect(!loses || after.failed > before.failed,
		       "failures are counted");
	good &= expect(complaints() == said + 1, "it is said once");
	set_fault("none");
	return rebind() && hints_arrive() && good;
}

static int test_twice(void)
{
	return pass_if(survives("twice", false));
}

static int test_wild(void)
{
	return pass_if(survives("wild", true));
}

/* It wants to be reset, which is what unbinding does. */
static int test_error(void)
{
	bool good;

	set_fault("error");
	free_some();
	sleep_ms(STALL_MS);
	set_fault("none");
	good = rebind();
	return pass_if(good && hints_arrive());
}

static bool balloon_added(void)
{
	return !host_do("{\"execute\": \"device_add\", \"arguments\": {"
			"\"driver\": \"virtio-balloon-pci\", \"id\": \"balloon\", "
			"\"bus\": \"root1\", \"page-hinting\": true}}");
}

static int test_unplug(void)
{
	bool good = stall();

	tell_host("{\"execute\": \"device_del\", \"arguments\": {\"id\": \"balloon\"}}");
	good &= expect(wait_until(balloon_gone), "the balloon goes");
	good &= expect(wait_until(nothing_in_flight), "all is back");
	/* Its slot is free for another only when the host has seen it go. */
	if (!wait_until(balloon_added))
		ksft_exit_fail_msg("device_add: %s\n", host_answer);
	good &= expect(wait_until(balloon_there), "the next one comes");
	return pass_if(good && hints_arrive());
}

/* Use some more for a moment: what is freed then is soon with the host. */
static void free_chunk(size_t *filled)
{
	char *p = mmap(NULL, OOM_CHUNK, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t at;

	if (p == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	for (at = 0; at < OOM_CHUNK; at += OOM_STEP) {
		memset(p + at, 1, OOM_STEP);
		*filled += OOM_STEP;
	}
	munmap(p, OOM_CHUNK);
	*filled -= OOM_CHUNK;
	sleep_ms(OOM_GAP_MS);
}

/* How much a process can have before it is killed; the last of @most in chunks. */
static size_t fill_memory(size_t most)
{
	size_t *filled = mmap(NULL, sizeof(*filled), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	size_t seen;
	int status;
	pid_t pid;

	if (filled == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	while (!pid) {
		if (!*filled)
			write_text("/proc/self/oom_score_adj", "1000");
		touch(OOM_STEP, MADV_NOHUGEPAGE);
		*filled += OOM_STEP;
		if (most < *filled + OOM_LAST)
			free_chunk(filled);
	}
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		ksft_print_msg("ended with %#x\n", status);
	seen = *filled;
	munmap(filled, sizeof(*filled));
	return seen;
}

/* As much can be had as without hints, less what is lost to a dead host. */
static bool fills(const char *fault, size_t without, bool is_back)
{
	size_t seen, lost, may_lose = OOM_NOISE;
	struct hints before;
	bool good = settle(&before);

	set_fault(fault);
	free_some();
	sleep_ms(STALL_MS);
	if (!is_back)
		may_lose += get_tunable("inflight_kb") * 1024;
	seen = fill_memory(is_back ? without : SIZE_MAX);
	lost = without > seen ? without - seen : 0;
	ksft_print_msg("%s: %zu MiB, without hints %zu\n", fault, seen >> 20,
		       without >> 20);
	set_fault("none");
	good &= expect(lost <= may_lose, "no kill that would not happen anyway");
	return settle(&before) && good;
}

static int test_oom(void)
{
	size_t without;
	cpu_set_t cpus;
	bool good;

	/* What stands in the page lists of another CPU does not save anybody. */
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		ksft_exit_fail_perror("sched_setaffinity");
	/* Nor is anybody killed for a watermark that moves with fragmentation. */
	if (write_text("/proc/sys/vm/watermark_boost_factor", "0"))
		ksft_exit_fail_perror("watermark_boost_factor");
	set_tunable("min_age_ms", 0);
	/* Once for what only the first one allocates or drops. */
	set_tunable("enabled", 0);
	fill_memory(SIZE_MAX);
	without = fill_memory(SIZE_MAX);
	set_tunable("enabled", 1);
	good = fills("none", without, true);
	good &= fills("late", without, true);
	return pass_if(fills("hold", without, false) && good);
}

static unsigned long host_counter(const char *name)
{
	char *at;

	ask_balloon("page-hinting-stats");
	at = strstr(host_answer, name);
	if (!at)
		ksft_exit_fail_msg("no %s: %s\n", name, host_answer);
	return strtoul(at + strlen(name), NULL, 10);
}

/* Free memory, and look with the eyes of the host whether it is still there. */
static bool stays(bool should)
{
	char *mem = touch_blocks(STEP), request[128];
	unsigned long long at[SAMPLES];
	unsigned int i, seen = 0;
	struct hints before;
	bool good;

	for (i = 0; i < SAMPLES; i++)
		at[i] = address_of(mem + STEP / SAMPLES * i);
	good = settle(&before);
	munmap(mem, STEP);
	good &= expect_reported(&before, percent(STEP, 80)) && settle(&before);
	for (i = 0; i < SAMPLES; i++) {
		snprintf(request, sizeof(request),
			 "{\"execute\": \"human-monitor-command\", \"arguments\": "
			 "{\"command-line\": \"xp /1gx %#llx\"}}", at[i]);
		tell_host(request);
		seen += !!strstr(host_answer, "0x0101010101010101");
	}
	ksft_print_msg("%u of %u pages are still there\n", seen, SAMPLES);
	return good && (should ? seen >= SAMPLES * 3 / 4 : seen <= SAMPLES / 4);
}

/* Somebody pins the memory of the guest while a batch is discarded. */
static int test_inhibit(void)
{
	unsigned long inhibited, discards;
	struct hints before;
	bool good = stays(false);

	set_fault("inhibit");
	free_some();
	good &= settle(&before);
	inhibited = host_counter("\"inhibited\": ");
	discards = host_counter("\"discards\": ");
	good &= expect(stays(true), "memory that is pinned stays");
	good &= expect(host_counter("\"inhibited\": ") > inhibited,
		       "the host says that it discards nothing");
	good &= expect(host_counter("\"discards\": ") == discards,
		       "it discards nothing");
	set_fault("none");
	return pass_if(expect(stays(false), "it discards again") && good);
}

static const struct test tests[] = {
	{ "it never answers", test_never },
	{ "it answers late and the last first", test_late },
	{ "it answers with a wrong length", test_length },
	{ "it interrupts for nothing", test_spurious },
	{ "it answers twice", test_twice },
	{ "it answers what was not asked", test_wild },
	{ "it wants to be reset", test_error },
	{ "it is unplugged with batches in flight", test_unplug },
	{ "memory is pinned in the middle of a batch", test_inhibit },
	{ "nobody is killed for what is in flight", test_oom },
};

int main(void)
{
	ksft_print_header();
	require_hinting();
	if (!balloon_there())
		ksft_exit_fail_msg("there is no balloon\n");
	run_tests(tests, ARRAY_SIZE(tests));
}
