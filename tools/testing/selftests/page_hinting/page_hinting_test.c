// SPDX-License-Identifier: GPL-2.0
/*
 * Functional tests of page hinting: that what the guest frees is reported, once
 * and not too early, whatever happens meanwhile, and that the counters add up.
 *
 * All of it is seen through /sys/kernel/mm/page_hinting and /proc/vmstat. That
 * memory keeps its content is for page_hinting_pattern to show.
 */
#define _GNU_SOURCE
#include "page_hinting_load.h"

#define ENTRIES_MAX	65536
#define ROUNDS		8

/* Others allocate and free, too: growth up to this says nothing. */
#define NOISE		MIB(8)

#define SMALL_ORDER	4
#define SMALL_PAGES	16
#define NR_HUGEPAGES	"/proc/sys/vm/nr_hugepages"

/* What is reported. */

static int test_small_pages(void)
{
	return pass_if(hints_arrive());
}

/* Nothing of this need ever come to the free lists by itself. */
static int test_few_pages(void)
{
	return pass_if(hints_arrive_of(FEW));
}

static int test_huge_pages(void)
{
	struct hints before;
	size_t huge;
	char *mem;

	if (!thp_size())
		return KSFT_SKIP;
	mem = touch(STEP, MADV_HUGEPAGE);
	huge = proc_number("/proc/self/smaps_rollup", "AnonHugePages") * 1024;
	if (huge < percent(STEP, 80)) {
		ksft_print_msg("%zu MiB of huge pages to be had\n", huge >> 20);
		munmap(mem, STEP);
		return KSFT_SKIP;
	}
	if (!settle(&before))
		return KSFT_FAIL;
	munmap(mem, STEP);
	return pass_if(expect_reported(&before, percent(STEP, 80)) &&
		       expect_reported(&before, percent(huge, 90)));
}

/* Blocks that merge are told as what they have become: at most twice as much. */
static int test_not_too_much(void)
{
	struct hints before, after;
	size_t blocks, seen;
	char *mem = touch_blocks(STEP);

	if (!settle(&before))
		return KSFT_FAIL;
	blocks = free_in_blocks();
	munmap(mem, STEP);
	if (!merged_and_told(&before, blocks, STEP) || !settle(&after))
		return KSFT_FAIL;
	seen = (after.reported - before.reported) * getpagesize();
	if (seen <= 2 * STEP + NOISE)
		return KSFT_PASS;
	ksft_print_msg("%zu MiB reported for %zu\n", seen >> 20, STEP >> 20);
	return KSFT_FAIL;
}

/* Writing the order has all free memory looked at again. */
static int test_hinted_once(void)
{
	struct hints before;
	size_t seen;

	if (!hints_arrive() || !settle(&before))
		return KSFT_FAIL;
	sleep_ms(1000);
	set_tunable("order", get_tunable("order"));
	sleep_ms(1000);
	seen = reported_since(&before);
	if (seen <= STEP / 2)
		return KSFT_PASS;
	ksft_print_msg("%zu MiB reported of nothing freed\n", seen >> 20);
	return KSFT_FAIL;
}

static int test_reuse(void)
{
	struct hints before, after;
	size_t seen;

	if (!hints_arrive() || !settle(&before))
		return KSFT_FAIL;
	munmap(touch(STEP, MADV_NOHUGEPAGE), STEP);
	read_hints(&after);
	seen = (after.reused - before.reused) * getpagesize();
	if (seen >= percent(STEP, 80))
		return KSFT_PASS;
	ksft_print_msg("%zu of %zu MiB\n", seen >> 20, STEP >> 20);
	return KSFT_FAIL;
}

static int test_overflow(void)
{
	struct hints before, after;
	size_t blocks;
	char *mem;

	set_tunable("capture_entries", 4);
	mem = touch_blocks(STEP);
	if (!settle(&before))
		return KSFT_FAIL;
	blocks = free_in_blocks();
	munmap(mem, STEP);
	if (!merged_and_told(&before, blocks, STEP))
		return KSFT_FAIL;
	read_hints(&after);
	if (after.overflowed > before.overflowed && after.swept > before.swept)
		return KSFT_PASS;
	ksft_print_msg("%lu overflowed, %lu swept\n",
		       after.overflowed - before.overflowed,
		       after.swept - before.swept);
	return KSFT_FAIL;
}

static int test_min_age(void)
{
	const long age_ms = 2000, slack_ms = 20;
	struct hints before;
	long began, first;
	size_t blocks;
	char *mem;

	set_tunable("min_age_ms", age_ms);
	mem = touch_blocks(STEP);
	if (!settle(&before))
		return KSFT_FAIL;
	blocks = free_in_blocks();
	began = now_ms();
	munmap(mem, STEP);
	if (!expect_reported(&before, STEP / 2))
		return KSFT_FAIL;
	first = now_ms() - began;
	if (first < age_ms - slack_ms) {
		ksft_print_msg("reported after %ld ms\n", first);
		return KSFT_FAIL;
	}
	return pass_if(merged_and_told(&before, blocks, STEP));
}

/* Huge pages that somebody has set aside before. */
static unsigned long pool;

static bool set_pool(unsigned long pages)
{
	char number[32];

	snprintf(number, sizeof(number), "%lu", pages);
	return !write_text(NR_HUGEPAGES, number);
}

/* Add to the pool, no more than there are; returns bytes. */
static size_t fill_pool(size_t len)
{
	size_t size = meminfo_bytes("Hugepagesize");

	if (!set_pool(pool + len / size))
		return 0;
	return size * (proc_number("/proc/meminfo", "HugePages_Total") - pool);
}

/*
 * In huge pages: page by page, a slow machine may take longer to use it all than
 * hinting looks ahead.
 */
static bool use_for_a_moment(void)
{
	bool good = true;

	if (!thp_size() && !access(NR_HUGEPAGES, W_OK)) {
		good = fill_pool(STEP) == STEP;
		good &= set_pool(pool);
	} else {
		munmap(touch(STEP, MADV_HUGEPAGE), STEP);
	}
	return good;
}

/* What is used again soon is left alone, until that ends. */
static int test_churn(void)
{
	unsigned long least = get_tunable("min_age_ms");
	long deadline;
	struct hints before;
	bool good = true;
	size_t seen;
	int i;

	if (!settle(&before))
		return KSFT_FAIL;
	for (i = 0; i < ROUNDS; i++) {
		good &= use_for_a_moment();
		sleep_ms(6 * least);
	}
	seen = reported_since(&before);
	ksft_print_msg("%zu of %zu MiB reported, age_ms %lu\n", seen >> 20,
		       ROUNDS * STEP >> 20, get_tunable("age_ms"));
	if (!good || seen > ROUNDS * STEP / 2 || !hints_arrive())
		return KSFT_FAIL;
	deadline = now_ms() + PATIENCE_MS;
	while (get_tunable("age_ms") != least && now_ms() < deadline)
		sleep_ms(POLL_MS);
	return pass_if(get_tunable("age_ms") == least);
}

static int test_cap(void)
{
	unsigned long min, seen, most = 0;
	struct hints before;
	size_t blocks;
	long deadline;
	char *mem;

	min = (getpagesize() / 1024) << max_page_order();
	set_tunable("max_inflight_kb", min);
	mem = touch_blocks(STEP);
	if (!settle(&before))
		return KSFT_FAIL;
	blocks = free_in_blocks();
	munmap(mem, STEP);
	deadline = now_ms() + PATIENCE_MS;
	while (reported_since(&before) < percent(STEP, 80) &&
	       now_ms() < deadline) {
		seen = get_tunable("inflight_kb");
		most = seen > most ? seen : most;
	}
	ksft_print_msg("%lu KiB in flight, %lu allowed\n", most, min);
	/* Answers come so soon that nothing need be seen in flight. */
	return pass_if(most <= min && merged_and_told(&before, blocks, STEP));
}

/* What was freed meanwhile is told afterwards, from where ever it is. */
static bool off_and_on(size_t len)
{
	char *mem = touch_blocks(STEP);
	struct hints before;
	bool good = settle(&before);
	long deadline = now_ms() + PATIENCE_MS;
	size_t seen, blocks;

	set_tunable("enabled", 0);
	/* What is with the host already may still be answered. */
	while (get_tunable("inflight_kb") && now_ms() < deadline)
		sleep_ms(POLL_MS);
	read_hints(&before);
	blocks = free_in_blocks();
	munmap(mem + STEP - len, len);
	sleep_ms(1000);
	seen = reported_since(&before);
	set_tunable("enabled", 1);
	if (seen)
		ksft_print_msg("%zu KiB reported while off\n", seen >> 10);
	good &= !seen && merged_and_told(&before, blocks, len);
	munmap(mem, STEP - len);
	return good;
}

static int test_off_and_on(void)
{
	return pass_if(off_and_on(STEP) && off_and_on(FEW));
}

static int test_mem_free(void)
{
	unsigned long entries = get_tunable("capture_entries");
	struct hints hints;
	size_t before, after;
	int i;

	/* Once for what only the first use of something allocates. */
	if (!hints_arrive())
		return KSFT_FAIL;
	release_gaps();
	if (!settle(&hints))
		return KSFT_FAIL;
	before = free_memory();
	for (i = 0; i < LOOPS; i++) {
		/* The arrays come and go, too. */
		set_tunable("capture_entries", ENTRIES_MAX);
		set_tunable("capture_entries", entries);
		if (!hints_arrive())
			return KSFT_FAIL;
	}
	release_gaps();
	if (!settle(&hints))
		return KSFT_FAIL;
	after = free_memory();
	if (before < after + NOISE && after < before + NOISE)
		return KSFT_PASS;
	ksft_print_msg("%zu KiB were free, and are %zu\n", before >> 10,
		       after >> 10);
	return KSFT_FAIL;
}

/* Pieces smaller than a huge page. */

/* Keep each aligned piece of SMALL_PAGES pages, as memory has it, of so many. */
static size_t free_pieces(char *mem, size_t len, unsigned int of)
{
	size_t size = getpagesize(), freed = 0, i;
	unsigned long long *map = malloc(len / size * sizeof(*map));
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t from = (uintptr_t)mem / size * sizeof(*map);
	ssize_t want = len / size * sizeof(*map);

	if (!map || fd < 0 || pread(fd, map, want, from) != want)
		ksft_exit_fail_perror("/proc/self/pagemap");
	close(fd);
	for (i = 0; i < len / size; i++) {
		if ((map[i] & PFN_MASK) / SMALL_PAGES % of == 0)
			continue;
		if (madvise(mem + i * size, size, MADV_DONTNEED))
			ksft_exit_fail_perror("MADV_DONTNEED");
		freed += size;
	}
	free(map);
	return freed;
}

static int test_fragments(void)
{
	char *mem = touch(STEP, MADV_NOHUGEPAGE);
	char *more = touch(STEP, MADV_NOHUGEPAGE);
	unsigned long order = get_tunable("order");
	struct hints before;
	size_t freed, seen;
	bool good;

	/* What pieces there are already is told. */
	set_tunable("order", SMALL_ORDER);
	good = settle(&before);
	set_tunable("order", order);
	if (!good || !settle(&before))
		return KSFT_FAIL;
	/* No huge page comes free, so that nothing is captured ... */
	freed = free_pieces(mem, STEP, 2);
	sleep_ms(1000);
	seen = reported_since(&before);
	if (freed < percent(STEP, 40) || seen > freed / 2) {
		ksft_print_msg("%zu MiB freed, %zu reported in huge pages\n",
			       freed >> 20, seen >> 20);
		return KSFT_FAIL;
	}
	/* ... but found as soon as smaller pieces are looked for ... */
	set_tunable("order", SMALL_ORDER);
	good = expect_reported(&before, percent(freed, 80)) && settle(&before);
	/* ... and from then on captured. */
	freed = free_pieces(more, STEP, 2);
	good = good && expect_reported(&before, percent(freed, 80));
	munmap(mem, STEP);
	munmap(more, STEP);
	return pass_if(good);
}

/*
 * Compaction frees what keeps pieces that were told from being huge pages, and
 * these are used.
 */
static int test_compaction(void)
{
	size_t len = percent(meminfo_bytes("MemAvailable"), 80);
	struct hints before, after;
	size_t size, reused;
	bool good;
	char *mem;

	if (access(NR_HUGEPAGES, W_OK))
		return KSFT_SKIP;
	size = meminfo_bytes("Hugepagesize");
	mem = touch(len, MADV_NOHUGEPAGE);
	set_tunable("order", SMALL_ORDER);
	free_pieces(mem, len, size / getpagesize() / SMALL_PAGES);
	good = settle(&before);
	size = fill_pool(percent(meminfo_bytes("MemFree"), 80));
	good &= settle(&after);
	reused = (after.reused - before.reused) * getpagesize();
	set_pool(pool);
	ksft_print_msg("%zu MiB of huge pages, %zu reused\n", size >> 20, reused >> 20);
	good &= size && reused >= percent(size, 80) &&
		expect_reported(&after, percent(size, 90));
	munmap(mem, len);
	return pass_if(good);
}

static const struct test tests[] = {
	{ "small pages are reported", test_small_pages },
	{ "few pages are reported", test_few_pages },
	{ "huge pages are reported", test_huge_pages },
	{ "not much more than was freed is reported", test_not_too_much },
	{ "what stays free is reported once", test_hinted_once },
	{ "use after a hint is counted", test_reuse },
	{ "an overflow loses nothing", test_overflow },
	{ "min_age_ms is waited for", test_min_age },
	{ "what is used again soon is left alone", test_churn },
	{ "max_inflight_kb is kept to", test_cap },
	{ "enabled stops it and starts it again", test_off_and_on },
	{ "MemFree comes back", test_mem_free },
	{ "pieces of a lower order are reported", test_fragments },
	{ "what compaction puts together is reported again", test_compaction },
};

int main(void)
{
	ksft_print_header();
	require_hinting();
	if (!access(NR_HUGEPAGES, R_OK))
		pool = proc_number("/proc/meminfo", "HugePages_Total");
	run_tests(tests, ARRAY_SIZE(tests));
}
