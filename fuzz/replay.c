/* replay.c: runs a target on files, for compilers without libFuzzer and for what it has found.
 *
 *     TARGET FILE-OR-DIRECTORY ...        prints how many inputs it ran */
#include "memory_disk.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static long count;

static void run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return;
    uint8_t *data = malloc(1 << 20);
    REQUIRE(data);
    size_t size = fread(data, 1, 1 << 20, file);
    fclose(file);
    /* Exactly as large as the input, so that a read past its end is seen. */
    uint8_t *exact = malloc(size ? size : 1);
    REQUIRE(exact);
    memcpy(exact, data, size);
    free(data);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    count++;
}

static void run_directory(const char *path, DIR *directory) {
    const struct dirent *entry;
    while ((entry = readdir(directory))) {
        char name[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        run_file(name);
    }
    closedir(directory);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        DIR *directory = opendir(argv[i]);
        if (directory) run_directory(argv[i], directory);
        else run_file(argv[i]);
    }
    printf("%ld inputs\n", count);
    return count == 0;
}
