// SPDX-License-Identifier: GPL-2.0
/*
 * usage: page_hinting_pattern [SECONDS [PROCESSES]]
 *
 * Hinted memory is lost, memory in use never: processes fill most of the memory
 * with patterns, verify them, free a part and fill it anew, all the time. What
 * one frees is hinted and soon used by another, so that a page that is given to
 * the host although somebody has it, or that two have, does not stay unseen.
 */
#define _GNU_SOURCE
#include "page_hinting_load.h"

#define SECONDS		20
#define PROCESSES_MAX	64
#define REGIONS		256		/* per process */
#define REGION_MIN	MIB(1)
#define SEED		0x9e3779b97f4a7c15ULL
#define SHOW_MAX	8		/* mismatches per process */
#define SLAB_FILES	4000

/* Memory held: most of all of it, unless the kernel has more for itself. */
#define HELD_PERCENT	82
#define SPARE_PERCENT	8		/* of what is available: stays free */

#define TRACING		"/sys/kernel/tracing/"
#define OVERCOMMIT	"/proc/sys/vm/nr_overcommit_hugepages"

enum kind { SMALL, THP, FILE_PAGES, HUGETLB, NR_KINDS };

static const char * const kind_names[] = {
	"small pages", "huge pages", "file pages", "hugetlb pages",
};

/* Memory with a pattern; the key tells it from all others, earlier ones too. */
struct region {
	char *mem;
	size_t len;
	enum kind kind;
	unsigned long long key;
	unsigned int generation;
};

/* What the processes tell; shared with their parent. */
struct report {
	unsigned long rounds;
	unsigned long mismatches;
	size_t verified;
	size_t held;
	unsigned long regions[NR_KINDS];
};

static struct report *reports;

/* Of one process. */
static struct region regions[REGIONS];
static struct report *mine;
static unsigned long long random_state;
static unsigned int generation;
static size_t budget;
static size_t huge;

static unsigned long long mix(unsigned long long x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static unsigned long random_below(unsigned long limit)
{
	random_state += SEED;
	return mix(random_state) % limit;
}

static unsigned long long pattern(const struct region *region,
				  const unsigned long long *where)
{
	return region->key ^ (uintptr_t)where * SEED;
}

/* The last that was traced of a page. */
static void show_last_hint(unsigned long pfn)
{
	char line[256], last[256] = "not traced\n";
	FILE *trace = fopen(TRACING "trace", "r");
	unsigned long first;
	unsigned int order;
	const char *at;

	while (trace && fgets(line, sizeof(line), trace)) {
		at = strstr(line, "pfn=");
		if (at && sscanf(at, "pfn=%lx order=%u", &first, &order) == 2 &&
		    pfn >= first && pfn - first < 1UL << order)
			snprintf(last, sizeof(last), "%s", line);
	}
	if (trace)
		fclose(trace);
	ksft_print_msg("pfn %#lx, its last hint: %s", pfn, last);
}

static void show(const struct region *region, const unsigned long long *where,
		 unsigned long long seen)
{
	if (mine->mismatches++ >= SHOW_MAX)
		return;
	ksft_print_msg("pid %d, %s, generation %u: %p: %016llx expected, %016llx seen\n",
		       getpid(), kind_names[region->kind], region->generation,
		       where, pattern(region, where), seen);
	show_last_hint(address_of(where) / getpagesize());
}

static void verify(const struct region *region)
{
	const unsigned long long *where = (void *)region->mem;
	size_t words = region->len / sizeof(*where);
	unsigned long long seen;

	for (; words; words--, where++) {
		seen = *where;
		if (seen != pattern(region, where))
			show(region, where, seen);
	}
	mine->verified += region->len;
}

static void fill(struct region *region)
{
	unsigned long long *where = (void *)region->mem;
	size_t words = region->len / sizeof(*where);

	region->generation = ++generation;
	region->key = mix(SEED * getpid() + region->generation);
	for (; words; words--, where++)
		*where = pattern(region, where);
}

static char *map_file(size_t len)
{
	int fd = memfd_create("page_hinting", MFD_CLOEXEC);
	char *mem;

	if (fd < 0 || ftruncate(fd, len))
		ksft_exit_fail_perror("memfd_create");
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	close(fd);
	return mem;
}

/* Returns NULL where there are no huge pages to be had. */
static char *map_hugetlb(size_t len)
{
	char *mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static void map_region(struct region *region)
{
	region->mem = NULL;
	switch (region->kind) {
	case HUGETLB:
		region->mem = map_hugetlb(region->len);
		break;
	case THP:
		region->mem = map_memory(region->len, MADV_HUGEPAGE);
		break;
	case FILE_PAGES:
		region->mem = map_file(region->len);
		break;
	default:
		break;
	}
	if (!region->mem) {
		region->kind = SMALL;
		region->mem = map_memory(region->len, MADV_NOHUGEPAGE);
	}
}

/* Sizes are spread over all magnitudes up to an eighth of the budget. */
static size_t random_size(void)
{
	size_t max = budget / 8;

	while (max > REGION_MIN && random_below(2))
		max /= 2;
	return max < REGION_MIN ? REGION_MIN : max / 2 + random_below(max / 2);
}

static bool allocate(struct region *region)
{
	size_t unit = getpagesize(), left = budget - mine->held;
	size_t len = random_size();

	region->kind = random_below(NR_KINDS);
	if (huge && (region->kind == THP || region->kind == HUGETLB))
		unit = huge;
	len = (len < left ? len : left) / unit * unit;
	if (!len)
		return false;
	region->len = len;
	map_region(region);
	fill(region);
	mine->held += region->len;
	mine->regions[region->kind]++;
	return true;
}

static void release(struct region *region)
{
	munmap(region->mem, region->len);
	mine->held -= region->len;
	region->len = 0;
}

/* A hole: its pages are freed and others take their place. */
static void refresh(struct region *region)
{
	size_t page = getpagesize(), pages = region->len / page;
	size_t from = random_below(pages), nr = 1 + random_below(pages - from);
	int advice = region->kind == FILE_PAGES ? MADV_REMOVE : MADV_DONTNEED;

	if (region->kind == HUGETLB)
		return;
	if (madvise(region->mem + from * page, nr * page, advice))
		ksft_exit_fail_perror("madvise");
	fill(region);
}

static void one_round(void)
{
	unsigned int i;

	for (i = 0; i < REGIONS; i++)
		if (regions[i].len)
			verify(&regions[i]);
	for (i = 0; i < REGIONS; i++) {
		if (!regions[i].len)
			continue;
		if (!random_below(3))
			release(&regions[i]);
		else if (!random_below(4))
			refresh(&regions[i]);
	}
	/* Time for what was freed to be hinted, or none. */
	sleep_ms(random_below(4) * random_below(60));
	for (i = 0; i < REGIONS; i++)
		if (!regions[i].len && !allocate(&regions[i]))
			break;
	mine->rounds++;
}

/* A page that is lost while it is in use has to be seen: lose one. */
static bool sees_loss(void)
{
	struct region region = { .len = REGION_MIN, .kind = SMALL };
	size_t page = getpagesize();
	unsigned long seen;

	mine = &reports[0];
	map_region(&region);
	fill(&region);
	verify(&region);
	seen = mine->mismatches;
	madvise(region.mem + 3 * page, page, MADV_DONTNEED);
	/* These need not be shown. */
	mine->mismatches = SHOW_MAX;
	verify(&region);
	seen += mine->mismatches - SHOW_MAX;
	munmap(region.mem, region.len);
	memset(mine, 0, sizeof(*mine));
	return seen == page / sizeof(unsigned long long);
}

/* Names and inodes by the thousand, which the slab allocator holds and gives back. */
static void stir_slab(long deadline)
{
	char dir[] = "/tmp/page_hinting.XXXXXX", name[sizeof(dir) + 8];
	int i, fd;

	if (!mkdtemp(dir))
		ksft_exit_fail_perror(dir);
	while (now_ms() < deadline) {
		for (i = 0; i < SLAB_FILES; i++) {
			snprintf(name, sizeof(name), "%s/%d", dir, i);
			fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
			if (fd < 0)
				break;
			close(fd);
		}
		while (i--) {
			snprintf(name, sizeof(name), "%s/%d", dir, i);
			unlink(name);
		}
		sleep_ms(100);
	}
	rmdir(dir);
	exit(KSFT_PASS);
}

static void work(unsigned int id, long deadline)
{
	mine = &reports[id];
	random_state = mix(SEED + id);
	while (now_ms() < deadline || mine->rounds < 2)
		one_round();
	exit(mine->mismatches ? KSFT_FAIL : KSFT_PASS);
}

/* All in the first half is hinted at once; in every other quarter, small too. */
static void vary(long seconds, const struct tunables *saved)
{
	int quarter;

	for (quarter = 0; quarter < 4; quarter++) {
		restore_tunables(saved);
		if (quarter < 2)
			set_tunable("min_age_ms", 0);
		if (quarter & 1)
			set_tunable("order", 4);
		sleep_ms(seconds * 250);
	}
	restore_tunables(saved);
}

static bool wait_for_all(const pid_t *pids, unsigned int nr)
{
	bool good = true;
	unsigned int i;
	int status;

	for (i = 0; i < nr; i++) {
		waitpid(pids[i], &status, 0);
		if (WIFEXITED(status) && reports[i].rounds > 1)
			continue;
		good = false;
		ksft_print_msg("pid %d ended with %#x after %lu rounds\n",
			       pids[i], status, reports[i].rounds);
	}
	if (waitpid(pids[nr], &status, 0) < 0 || status) {
		good = false;
		ksft_print_msg("what stirs the slab ended with %#x\n", status);
	}
	return good;
}

static unsigned long sum_up(unsigned int nr)
{
	unsigned long mismatches = 0, rounds = 0, used[NR_KINDS] = { 0 };
	size_t verified = 0;
	unsigned int i, kind;

	for (i = 0; i < nr; i++) {
		mismatches += reports[i].mismatches;
		rounds += reports[i].rounds;
		verified += reports[i].verified;
		for (kind = 0; kind < NR_KINDS; kind++)
			used[kind] += reports[i].regions[kind];
	}
	ksft_print_msg("%lu rounds, %zu MiB verified, %lu mismatches\n", rounds,
		       verified >> 20, mismatches);
	for (kind = 0; kind < NR_KINDS; kind++)
		ksft_print_msg("%lu times %s\n", used[kind], kind_names[kind]);
	return mismatches;
}

static void set_budget(unsigned int nr)
{
	size_t total = meminfo_bytes("MemTotal");
	size_t spare = meminfo_bytes("MemAvailable");
	size_t held = total / 100 * HELD_PERCENT;
	char text[32];

	spare -= spare / 100 * SPARE_PERCENT;
	held = held < spare ? held : spare;
	budget = held / nr;
	huge = thp_size();
	/* Huge pages come from the buddy and go back there. */
	snprintf(text, sizeof(text), "%zu", huge ? held / huge / 4 : 0);
	if (write_text(OVERCOMMIT, text))
		ksft_print_msg("no hugetlb pages\n");
	ksft_print_msg("seed %#llx, %u processes, %zu MiB of %zu held\n", SEED,
		       nr, held >> 20, total >> 20);
}

static bool hints_happened(const struct hints *before)
{
	struct hints now;

	read_hints(&now);
	ksft_print_msg("%lu pages reported, %lu reused, %lu overflows\n",
		       now.reported - before->reported,
		       now.reused - before->reused,
		       now.overflowed - before->overflowed);
	return now.reported > before->reported && now.reused > before->reused;
}

int main(int argc, char **argv)
{
	long seconds = argc > 1 ? atol(argv[1]) : SECONDS;
	long nr = argc > 2 ? atol(argv[2]) : sysconf(_SC_NPROCESSORS_ONLN) + 1;
	pid_t pids[PROCESSES_MAX + 1];
	struct tunables saved;
	struct hints before;
	bool lived;
	long i;

	ksft_print_header();
	require_hinting();
	if (seconds < 1 || nr < 1 || nr > PROCESSES_MAX)
		ksft_exit_fail_msg("usage: %s [SECONDS [PROCESSES]]\n", argv[0]);
	ksft_set_plan(5);
	save_tunables(&saved);
	fill_quarantine();
	set_budget(nr);
	reports = mmap(NULL, nr * sizeof(*reports), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reports == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	ksft_test_result(sees_loss(), "a lost page is seen\n");
	settle(&before);
	write_text(TRACING "events/page_hinting/enable", "1");
	for (i = 0; i <= nr; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			ksft_exit_fail_perror("fork");
		if (!pids[i] && i == nr)
			stir_slab(now_ms() + seconds * 1000);
		if (!pids[i])
			work(i, now_ms() + seconds * 1000);
	}
	vary(seconds, &saved);
	lived = wait_for_all(pids, nr);
	write_text(TRACING "events/page_hinting/enable", "0");
	ksft_test_result(!sum_up(nr), "memory in use keeps its content\n");
	ksft_test_result(lived, "all processes lived and worked\n");
	ksft_test_result(hints_happened(&before),
			 "memory was hinted and used again\n");
	ksft_test_result(settle(&before), "all hints are accounted for\n");
	ksft_finished();
}
