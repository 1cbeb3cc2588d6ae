"""The queue for many machines: AWS's SQS, loaded only for an http(s) queue URL.

A message holds records of one site: it is sent in batches, received by any forwarder, kept from
the others as long as its work lasts, and deleted once each of its records is delivered or dead.
"""
