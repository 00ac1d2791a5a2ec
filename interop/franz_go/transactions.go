package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	transactionPartitions = 3
	copyCount             = 300
)

// transactions are exactly once, and what admin tools see of it.
type transactions struct {
	*world
	copier, copied string
}

func walkTransactions(w *world, report reporter) {
	t := &transactions{world: w, copier: w.name("copier")}
	report.step("transactions_copy", t.copy)
	report.step("transaction_abort", t.abort)
	report.step("read_committed", t.readCommitted)
	report.step("fenced_producer", t.fenced)
	report.step("list_transactions", t.list)
	report.step("describe_transactions", t.describe)
	report.step("describe_transaction_unknown", func(ctx context.Context) (string, error) {
		unknown := w.name("unknown")
		found, err := w.admin.DescribeTransactions(ctx, unknown)
		if err != nil {
			return "", err
		}
		return "", found[unknown].Err
	})
}

func committed() kgo.Opt { return kgo.FetchIsolationLevel(kgo.ReadCommitted()) }

func (t *transactions) producer(id string) *kgo.Client {
	return t.connect(kgo.TransactionalID(id), kgo.TransactionTimeout(15*time.Second))
}

// send writes values v<first>, … within the open transaction.
func send(ctx context.Context, client *kgo.Client, topic string, partitions, first, count int) error {
	var records []*kgo.Record
	for number := first; number < first+count; number++ {
		records = append(records, &kgo.Record{
			Topic: topic, Partition: int32(number % partitions), Value: []byte(value(number)),
		})
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// transact does a whole transaction.
func transact(ctx context.Context, client *kgo.Client, topic string, partitions, first, count int, end kgo.TransactionEndTry) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	if err := send(ctx, client, topic, partitions, first, count); err != nil {
		return err
	}
	return client.EndTransaction(ctx, end)
}

func (t *transactions) copy(ctx context.Context) (string, error) {
	source, err := t.topic(ctx, "source", transactionPartitions)
	if err != nil {
		return "", err
	}
	if t.copied, err = t.topic(ctx, "copy", transactionPartitions); err != nil {
		return "", err
	}
	if err = t.fill(ctx, source, transactionPartitions, 0, copyCount); err != nil {
		return "", err
	}
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(t.bootstrap...), kgo.TransactionalID(t.copier), kgo.TransactionTimeout(15*time.Second),
		kgo.ConsumerGroup(t.name("copiers")), kgo.ConsumeTopics(source), committed(), kgo.RequireStableFetchOffsets(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)
	if err != nil {
		return "", err
	}
	defer session.Close()
	count := 0
	for done := 0; done < copyCount; count++ {
		moved, err := t.copySome(ctx, session)
		if err != nil {
			return "", err
		}
		done += moved
	}
	offsets, err := t.admin.FetchOffsets(ctx, t.name("copiers"))
	if err != nil {
		return "", err
	}
	for index := range transactionPartitions {
		found, _ := offsets.Lookup(source, int32(index))
		if err := equal(found.At, copyCount/transactionPartitions, "a committed offset"); err != nil {
			return "", err
		}
	}
	records, err := t.read(ctx, t.copied, transactionPartitions, copyCount, committed())
	if err != nil {
		return "", err
	}
	different := map[string]bool{}
	for _, each := range records {
		different[string(each.Value)] = true
	}
	return fmt.Sprintf("%d transactions", count), equal(len(different), copyCount, "the number of different copies")
}

// copySome copies up to fifty records in one transaction.
func (t *transactions) copySome(ctx context.Context, session *kgo.GroupTransactSession) (int, error) {
	fetches := session.PollRecords(ctx, 50)
	if err := fetches.Err(); err != nil {
		return 0, err
	}
	if err := session.Begin(); err != nil {
		return 0, err
	}
	var records []*kgo.Record
	for _, each := range fetches.Records() {
		records = append(records, &kgo.Record{
			Topic: t.copied, Partition: each.Partition, Value: append([]byte("copy of "), each.Value...),
		})
	}
	if err := session.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return 0, err
	}
	ended, err := session.End(ctx, kgo.TryCommit)
	if err == nil && !ended {
		err = failed("a transaction was not committed")
	}
	return len(records), err
}

func (t *transactions) abort(ctx context.Context) (string, error) {
	topic, err := t.topic(ctx, "abort", transactionPartitions)
	if err != nil {
		return "", err
	}
	client := t.producer(t.name("aborter"))
	defer client.Close()
	if err := transact(ctx, client, topic, transactionPartitions, 0, 30, kgo.TryAbort); err != nil {
		return "", err
	}
	if err := transact(ctx, client, topic, transactionPartitions, 30, 30, kgo.TryCommit); err != nil {
		return "", err
	}
	found, err := t.read(ctx, topic, transactionPartitions, 30, committed())
	if err != nil {
		return "", err
	}
	for _, each := range found {
		if number, _ := strconv.Atoi(string(each.Value[1:])); number < 30 {
			return "", failed("an aborted record was read")
		}
	}
	_, err = t.read(ctx, topic, transactionPartitions, 60)
	return "", err
}

func (t *transactions) readCommitted(ctx context.Context) (string, error) {
	topic, err := t.topic(ctx, "isolation", 1)
	if err != nil {
		return "", err
	}
	if err := t.fill(ctx, topic, 1, 0, 5); err != nil {
		return "", err
	}
	client := t.producer(t.name("slow"))
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		return "", err
	}
	if err := send(ctx, client, topic, 1, 5, 1); err != nil {
		return "", err
	}
	if err := t.fill(ctx, topic, 1, 6, 5); err != nil {
		return "", err
	}
	from := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
	reader := t.connect(kgo.ConsumePartitions(from), committed())
	defer reader.Close()
	if _, err := poll(ctx, reader, 5, 700*time.Millisecond); err != nil {
		return "", err
	}
	stable, err := t.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return "", err
	}
	if err := equal(stable[topic][0].Offset, 5, "the last stable offset"); err != nil {
		return "", err
	}
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return "", err
	}
	found, err := poll(ctx, reader, 6, 0)
	if err != nil {
		return "", err
	}
	return "", equal(values(found), "v5 v6 v7 v8 v9 v10", "what came then")
}

func (t *transactions) fenced(ctx context.Context) (string, error) {
	topic, err := t.topic(ctx, "fenced", transactionPartitions)
	if err != nil {
		return "", err
	}
	first, second := t.producer(t.name("twice")), t.producer(t.name("twice"))
	defer first.Close()
	defer second.Close()
	if err := transact(ctx, first, topic, transactionPartitions, 0, 3, kgo.TryCommit); err != nil {
		return "", err
	}
	if err := transact(ctx, second, topic, transactionPartitions, 3, 3, kgo.TryCommit); err != nil {
		return "", err
	}
	return "", transact(ctx, first, topic, transactionPartitions, 6, 3, kgo.TryCommit)
}

func (t *transactions) list(ctx context.Context) (string, error) {
	all, err := t.admin.ListTransactions(ctx, nil, nil)
	if err != nil {
		return "", err
	}
	if err := equal(all[t.copier].State, "CompleteCommit", "its state"); err != nil {
		return "", err
	}
	open, err := t.admin.ListTransactions(ctx, nil, []string{"Ongoing"})
	if err != nil {
		return "", err
	}
	_, listed := open[t.copier]
	return "", equal(listed, false, "whether it is listed as ongoing")
}

func (t *transactions) describe(ctx context.Context) (string, error) {
	all, err := t.admin.DescribeTransactions(ctx, t.copier)
	if err != nil {
		return "", err
	}
	found := all[t.copier]
	if found.Err != nil {
		return "", found.Err
	}
	if err := equal(found.State, "CompleteCommit", "its state"); err != nil {
		return "", err
	}
	if err := equal(found.TimeoutMillis, 15_000, "its timeout"); err != nil {
		return "", err
	}
	producers, err := t.admin.DescribeProducers(ctx, kadm.TopicsSet{t.copied: {0: {}}})
	if err != nil {
		return "", err
	}
	for _, each := range producers.SortedProducers() {
		if each.ProducerID == found.ProducerID {
			return "and DescribeProducers", nil
		}
	}
	return "", failed("DescribeProducers does not name the copier")
}
