"""The hook below AsyncSession: the same rows, and an event loop that goes on."""

import asyncio
import os
import signal

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from support.orm_models import Inventory, Seat

from demo.servers import Valkey
from rowcache_tasks.orm import touched


def run(database_url, work):
    """Run a coroutine function with an engine of its own, in an event loop of its own."""

    async def main():
        engine = create_async_engine(database_url)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(main())


async def sell(session, row_id=1, stock=5):
    (await session.get_one(Inventory, row_id)).stock = stock


@pytest.mark.usefixtures("session_maker")
@pytest.mark.parametrize("kind", ["maker", "scoped", "class", "session"])
def test_commits_of_an_async_session_are_touched_and_rollbacks_are_not(postgres_url, listen, touched_rows, kind):
    async def work(engine):
        makers = {"maker": async_sessionmaker(engine)}
        makers["scoped"] = async_scoped_session(makers["maker"], scopefunc=asyncio.current_task)
        session = AsyncSession(engine) if kind in ("class", "session") else makers[kind]()
        targets = {"class": AsyncSession, "session": session}
        hook = listen(targets.get(kind) or makers[kind])
        if kind in makers:  # a session from before does not count
            await session.close()
            session = async_sessionmaker(**makers["maker"].kw)()
        try:
            await sell(session, 1)
            await session.rollback()
            async with session.begin_nested() as savepoint:
                await sell(session, 2)
                await savepoint.rollback()
            await sell(session, 3)
            await session.execute(update(Inventory).where(Inventory.id == 1).values(stock=1))
            touched(session, "inv", ["9"])
            assert touched_rows.touched() == {}
            await session.commit()
        finally:
            await session.close()
            hook.remove()

    run(postgres_url, work)
    assert touched_rows.touched() == {"inv": ["1", "3", "9"]}


@pytest.mark.usefixtures("session_maker")
def test_makers_are_listened_to_one_by_one(postgres_url, listen, touched_rows):
    async def work(engine):
        seen, other = async_sessionmaker(engine), async_sessionmaker(engine)
        listen(seen)
        for session_maker, row_id in ((seen, 1), (other, 2)):
            async with session_maker.begin() as session:
                await sell(session, row_id)

    run(postgres_url, work)
    assert touched_rows.touched() == {"inv": ["1"]}


@pytest.mark.usefixtures("session_maker")
def test_many_coroutines_commit_at_once(postgres_url, listen, touched_rows):
    touched_rows.schedule("seat", *(f"{n},a" for n in range(40)))

    async def work(engine):
        session_maker = async_sessionmaker(engine)
        listen(session_maker)

        async def book(n):
            async with session_maker.begin() as session:
                session.add(Seat(hall="a", n=n))

        await asyncio.gather(*map(book, range(40)))

    run(postgres_url, work)
    assert len(touched_rows.touched()["seat"]) == 40


@pytest.mark.usefixtures("session_maker")
def test_event_loop_goes_on_while_redis_hangs_and_a_cancelled_commit_leaves_a_sound_session(
    postgres_url, listen, caplog
):
    with Valkey() as server:

        async def work(engine):
            session_maker = async_sessionmaker(engine)
            listen(session_maker, url=server.url, timeout=60)
            async with session_maker() as session:
                await sell(session, 1)
                os.kill(server.pid, signal.SIGSTOP)
                commit = asyncio.create_task(session.commit())
                async with session_maker() as other:
                    while (await other.get_one(Inventory, 1, populate_existing=True)).stock != 5:
                        await other.rollback()
                for _ in range(20):
                    await asyncio.sleep(0.01)
                assert not commit.done(), "it waits for Redis, and we do not wait for it"
                commit.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await commit
            async with session_maker() as session:
                assert (await session.get_one(Inventory, 1)).stock == 5
            os.kill(server.pid, signal.SIGCONT)  # else the end of the loop waits for the thread that waits for Redis
            assert engine.pool.checkedout() == 0

        try:
            run(postgres_url, work)
        finally:
            os.kill(server.pid, signal.SIGCONT)
