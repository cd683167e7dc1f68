// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that comes, goes, is reserved or fails while it is hinted. For a guest
 * with two nodes, room for a DIMM, memhp_default_state=online_movable, an area
 * for CMA, and a host that does as it is told.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/uio.h>

#include "host.h"
#include "page_hinting_load.h"

#define BLOCK		MIB(128)
/* Two of those: while one is to go, there is memory to spare in the zone. */
#define DIMM		(2 * BLOCK)
#define BLOCKS		"/sys/devices/system/memory/"
#define CMA		"/sys/kernel/debug/cma/reserved/"
#define HUGE_PAGES	"/proc/sys/vm/nr_hugepages"
#define HARD_OFFLINE	BLOCKS "hard_offline_page"
#define SOFT_OFFLINE	BLOCKS "soft_offline_page"
#define TRIES		20
#define FEW_LOOPS	3
#define PARTS		24

static bool total_becomes(size_t total)
{
	long deadline = now_ms() + PATIENCE_MS;

	while (meminfo_bytes("MemTotal") != total) {
		if (now_ms() > deadline)
			return false;
		sleep_ms(POLL_MS);
	}
	return true;
}

static bool plug(void)
{
	size_t total = meminfo_bytes("MemTotal") + DIMM;

	tell_host("{\"execute\": \"object-add\", \"arguments\": {\"qom-type\": "
		  "\"memory-backend-ram\", \"id\": \"more\", \"size\": 268435456}}");
	tell_host("{\"execute\": \"device_add\", \"arguments\": {\"driver\": \"pc-dimm\", "
		  "\"id\": \"dimm\", \"memdev\": \"more\", \"node\": 1}}");
	if (total_becomes(total))
		return true;
	ksft_print_msg("the DIMM does not come online\n");
	return false;
}

/* The guest may refuse, if a page cannot be moved just now. */
static bool unplug(void)
{
	size_t total = meminfo_bytes("MemTotal") - DIMM;
	long deadline;
	int i;

	for (i = 0; i < TRIES; i++) {
		/* An error says that the last request is under way. */
		host_do("{\"execute\": \"device_del\", \"arguments\": {\"id\": \"dimm\"}}");
		if (!total_becomes(total))
			continue;
		deadline = now_ms() + PATIENCE_MS;
		while (host_do("{\"execute\": \"object-del\", \"arguments\": {\"id\": \"more\"}}")) {
			if (now_ms() > deadline)
				ksft_exit_fail_msg("the memory of the DIMM stays\n");
			sleep_ms(100);
		}
		return true;
	}
	ksft_print_msg("the DIMM does not go\n");
	return false;
}

/* Free most of what there is, so that pages of all zones are among it. */
static void free_most(void)
{
	size_t len = percent(meminfo_bytes("MemAvailable"), 80);

	munmap(touch(len, MADV_NOHUGEPAGE), len);
}

/* Nobody has used what was just onlined; what follows frees some of it. */
static int test_dimm(void)
{
	struct hints before;
	bool good;
	int i;

	if (!settle(&before) || !plug())
		return KSFT_FAIL;
	settle(&before);
	good = reported_since(&before) < DIMM / 2;
	for (i = 0; i < 3 && good; i++) {
		free_most();
		/* With captures that have not aged, some in flight, or none. */
		sleep_ms(i * 90);
		good = unplug() && plug();
	}
	good = good && hints_arrive();
	return pass_if(unplug() && good);
}

/* The last block that is movable, or -1. */
static int movable_block(void)
{
	char path[128], text[64];
	int i, last = -1;

	for (i = 0; i < 1024; i++) {
		snprintf(path, sizeof(path), BLOCKS "memory%d/valid_zones", i);
		if (!read_text(path, text, sizeof(text)) &&
		    !strcmp(text, "Movable"))
			last = i;
	}
	return last;
}

static int test_offline(void)
{
	char path[128];
	bool good;
	int i, block;

	if (!plug())
		return KSFT_FAIL;
	block = movable_block();
	snprintf(path, sizeof(path), BLOCKS "memory%d/state", block);
	start_churn();
	for (i = 0; i < LOOPS; i++) {
		/* Where it is refused, it stays online, which is no harm. */
		write_text(path, "offline");
		sleep_ms(100);
		write_text(path, "online_movable");
		sleep_ms(100);
	}
	good = stop_churn() && block >= 0;
	good = good && hints_arrive();
	return pass_if(unplug() && good);
}

/* A pipe that refers to a page. */
static int pinned[2];

/*
 * Free what is in the block and all else, one page aside, which is kept. Returns
 * how much of it is in the block.
 */
static size_t free_around(unsigned int block, size_t len)
{
	char *mem = touch(len, MADV_NOHUGEPAGE), *last = NULL;
	struct iovec page = { .iov_len = getpagesize() };
	size_t i, inside = 0;

	for (i = 0; i < len; i += MIB(1)) {
		if (address_of(mem + i) / BLOCK != block)
			continue;
		inside += MIB(1);
		last = mem + i;
	}
	page.iov_base = last;
	if (!last || pipe(pinned) || vmsplice(pinned[1], &page, 1, 0) < 0)
		ksft_exit_fail_msg("no page of memory%u\n", block);
	munmap(mem, len);
	return inside;
}

/* Is anything set aside, so that nobody is given memory of it? */
static bool isolated(void)
{
	char text[32768], *line;
	size_t len;

	if (read_text("/proc/pagetypeinfo", text, sizeof(text)))
		ksft_exit_fail_perror("/proc/pagetypeinfo");
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		/* Pageblocks by type, a line for each zone; "Isolate" comes last. */
		if (strncmp(line, "Node", 4) || strstr(line, ", type "))
			continue;
		for (len = strlen(line); line[len - 1] == ' '; len--)
			line[len - 1] = '\0';
		if (strtoul(strrchr(line, ' '), NULL, 10))
			return true;
	}
	return false;
}

/*
 * The host is told of nothing in a block that is to go. When it stays after all,
 * what was passed over is looked at again.
 */
static int test_refused(void)
{
	unsigned long least = get_tunable("min_age_ms");
	size_t len, inside, told;
	struct hints before, after;
	char path[128];
	int block, status;
	long deadline;
	pid_t pid;
	bool good;

	if (!plug() || !settle(&before))
		return KSFT_FAIL;
	block = movable_block();
	snprintf(path, sizeof(path), BLOCKS "memory%d/state", block);
	/* Until all is freed and the block set aside. */
	set_tunable("min_age_ms", 60000);
	len = percent(meminfo_bytes("MemAvailable"), 80);
	inside = free_around(block, len);
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (!pid)
		_exit(-write_text(path, "offline"));
	deadline = now_ms() + PATIENCE_MS;
	while (!isolated() && now_ms() < deadline)
		sleep_ms(POLL_MS);
	set_tunable("min_age_ms", least);

	good = expect_reported(&before, percent(len - inside, 90)) && settle(&after);
	told = (after.reported - before.reported) * getpagesize();
	ksft_print_msg("%zu of %zu MiB are to go; %zu reported\n", inside >> 20, len >> 20,
		       told >> 20);
	good = good && told < len - inside / 2;
	kill(pid, SIGTERM);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status)) {
		ksft_print_msg("offline: %s\n", strerror(WEXITSTATUS(status)));
		good = false;
	}
	good = good && expect_reported(&after, percent(inside, 90));
	close(pinned[0]);
	close(pinned[1]);
	/* What was moved out of the block lies between what others free. */
	write_text("/proc/sys/vm/compact_memory", "1");
	return pass_if(unplug() && good);
}

/* A range is asked for, used and given back, while what is free is hinted. */
static int test_cma(void)
{
	int i, err = 0;
	bool lived;

	if (access(CMA "alloc", W_OK))
		return KSFT_SKIP;
	start_churn();
	for (i = 0; i < FEW_LOOPS && !err; i++) {
		munmap(touch(STEP, MADV_NOHUGEPAGE), STEP);
		sleep_ms(i * 30);
		err = write_text(CMA "alloc", "2048");
		if (!err)
			err = write_text(CMA "free", "2048");
	}
	lived = stop_churn();
	if (err)
		ksft_print_msg("CMA: %s\n", strerror(-err));
	return pass_if(lived && !err && hints_arrive());
}

/*
 * What is not taken of a block is not used, and the host knows it still. Parts are
 * of a pageblock, and most blocks of two: every second part would show it. What
 * else goes on uses or frees a block now and then.
 */
static int test_cma_part(void)
{
	struct hints before, at_once, after;
	unsigned int i, good = 0;
	unsigned long used;
	char number[16];
	size_t told;
	int err = 0;

	if (access(CMA "alloc", W_OK))
		return KSFT_SKIP;
	snprintf(number, sizeof(number), "%u", PARTS * 512);
	/* Before any is looked at, what lies there moves. */
	for (i = 0; i < PARTS && !err; i++)
		err = write_text(CMA "alloc", "512");
	err = write_text(CMA "free", number) ?: err;
	if (!settle(&after))
		return KSFT_FAIL;
	for (i = 0; i < PARTS && !err; i++) {
		read_hints(&before);
		err = write_text(CMA "alloc", "512");
		read_hints(&at_once);
		if (!settle(&after))
			return KSFT_FAIL;
		told = (after.reported - before.reported) * getpagesize();
		used = at_once.reused - before.reused;
		if (used == 512 && !told)
			good++;
		else
			ksft_print_msg("part %u: %lu hinted pages used, %zu KiB hinted again\n",
				       i, used, told >> 10);
	}
	err = write_text(CMA "free", number) ?: err;
	if (err)
		ksft_print_msg("CMA: %s\n", strerror(-err));
	return pass_if(!err && good > PARTS * 3 / 4 && settle(&after));
}

static int test_hugetlb(void)
{
	unsigned long got = 0;
	char text[32];
	bool lived;
	int i;

	if (access(HUGE_PAGES, W_OK))
		return KSFT_SKIP;
	start_churn();
	for (i = 0; i < FEW_LOOPS; i++) {
		munmap(touch(STEP, MADV_NOHUGEPAGE), STEP);
		sleep_ms(i * 30);
		write_text(HUGE_PAGES, "64");
		if (!read_text(HUGE_PAGES, text, sizeof(text)))
			got += strtoul(text, NULL, 10);
		write_text(HUGE_PAGES, "0");
	}
	lived = stop_churn();
	ksft_print_msg("%lu huge pages in %d loops\n", got, FEW_LOOPS);
	return pass_if(lived && got > FEW_LOOPS * 32 && hints_arrive());
}

/* A page that the host was told of fails, and so does one on its way. */
static int test_failure(void)
{
	unsigned long long hard, soft;
	size_t bad = meminfo_bytes("HardwareCorrupted");
	char *mem = touch(STEP, MADV_NOHUGEPAGE);
	struct hints before, hints;
	long deadline = now_ms() + PATIENCE_MS;
	char text[32];
	bool good;
	int err;

	if (access(HARD_OFFLINE, W_OK))
		return KSFT_SKIP;
	read_hints(&before);
	hard = address_of(mem + STEP / 2);
	soft = address_of(mem + STEP / 4);
	munmap(mem, STEP);
	snprintf(text, sizeof(text), "%#llx", soft);
	/* Not as long as it is on its way. */
	do {
		err = write_text(SOFT_OFFLINE, text);
	} while ((err == -EIO || err == -EBUSY) && now_ms() < deadline);
	good = settle(&hints);
	snprintf(text, sizeof(text), "%#llx", hard);
	err = write_text(HARD_OFFLINE, text) ?: err;
	bad = meminfo_bytes("HardwareCorrupted") - bad;
	if (err || !bad)
		ksft_print_msg("%s, %zu bytes\n", strerror(-err), bad);
	good = good && !err && bad;
	/* The bad pages keep their blocks from merging. */
	munmap(touch(STEP, MADV_NOHUGEPAGE), STEP);
	return pass_if(settle(&hints) && good &&
		       expect_reported(&before, STEP / 2));
}

static const struct test tests[] = {
	{ "a DIMM comes and goes", test_dimm },
	{ "a memory block goes and comes", test_offline },
	{ "a memory block cannot go", test_refused },
	{ "contiguous memory is allocated", test_cma },
	{ "a part of a block is allocated", test_cma_part },
	{ "the pool of huge pages grows and shrinks", test_hugetlb },
	{ "memory fails", test_failure },
};

int main(void)
{
	ksft_print_header();
	require_hinting();
	run_tests(tests, ARRAY_SIZE(tests));
}
