/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Open a virtio-serial port by the name the host gave it.
 */
#ifndef PORT_H
#define PORT_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PORT_DIR	"/sys/class/virtio-ports"
#define PORT_WAIT_US	10000
#define PORT_TRIES	1000

static inline int port_named(const char *entry, const char *name)
{
	char path[512], line[128] = "";
	FILE *file;

	snprintf(path, sizeof(path), PORT_DIR "/%s/name", entry);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return !strcmp(line, name);
}

static inline int port_try(const char *name)
{
	struct dirent *entry;
	char path[512];
	int fd = -1;
	DIR *dir;

	dir = opendir(PORT_DIR);
	if (!dir)
		return -1;
	while (fd < 0 && (entry = readdir(dir))) {
		if (!port_named(entry->d_name, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

/* The driver learns of its ports and their names while the guest runs. */
static inline int port_open(const char *name)
{
	int fd = -1;

	for (int i = 0; fd < 0 && i < PORT_TRIES; i++) {
		fd = port_try(name);
		if (fd < 0)
			usleep(PORT_WAIT_US);
	}
	return fd;
}

#endif /* PORT_H */
